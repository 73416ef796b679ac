# nginx: the portal, and an interface for known programs.
rm -f /etc/nginx/sites-enabled/default
cat > /etc/nginx/conf.d/portal.conf <<'CONF'
server {
    listen 8080;
    server_name portal;
    location / { return 200 "the portal\n"; }
}
CONF
cat > /etc/nginx/conf.d/api.conf <<'CONF'
server {
    listen 8081;
    server_name api;
    location / { return 200 "the interface\n"; }
}
CONF
systemctl start nginx
