# Apache: the intranet, for known programs.
cat > /etc/apache2/ports.conf <<'CONF'
Listen 8090
CONF
cat > /etc/apache2/sites-available/000-default.conf <<'CONF'
<VirtualHost *:8090>
    ServerName app2.lab.test
    DocumentRoot /var/www/html
</VirtualHost>
CONF
a2enmod -q ssl
systemctl start apache2
