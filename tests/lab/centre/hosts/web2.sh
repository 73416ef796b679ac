# nginx: the portal's second member.
rm -f /etc/nginx/sites-enabled/default
cat > /etc/nginx/conf.d/portal.conf <<'CONF'
server {
    listen 8080;
    server_name portal;
    location / { return 200 "the portal\n"; }
}
CONF
systemctl start nginx
