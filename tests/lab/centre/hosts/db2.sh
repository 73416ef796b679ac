# MariaDB with an account that may log in from this network, and slapd.
sed -i 's/^bind-address.*/bind-address = 0.0.0.0/' /etc/mysql/mariadb.conf.d/50-server.cnf
systemctl start mariadb slapd
mariadb -e "create user 'load'@'%'"
