# HAProxy in front of the portal.
cat > /etc/haproxy/haproxy.cfg <<'CONF'
global
    log stderr format raw local0 warning
defaults
    mode http
    timeout connect 3s
    timeout client 10s
    timeout server 10s
    option redispatch
    retries 3
frontend web
    bind *:80
    default_backend portal
backend portal
    server web1 web1.lab.test:8080 check
    server web2 web2.lab.test:8080 check
CONF
systemctl start haproxy
