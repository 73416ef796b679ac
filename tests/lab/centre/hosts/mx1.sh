# Postfix, for everybody on this network, and a program that cannot speak TLS and repeats lines.
postconf -e inet_interfaces=all
systemctl start postfix

cat > /usr/local/bin/billing <<'PROGRAM'
import configparser, socketserver
options = configparser.ConfigParser()
options.read("/etc/billing.ini")
class Repeat(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
Server((options["server"]["bind"], 7000), Repeat).serve_forever()
PROGRAM
printf '[server]\nbind = 0.0.0.0\n' > /etc/billing.ini
printf '[Service]\nExecStart=/usr/bin/python3 /usr/local/bin/billing\n' > /etc/systemd/system/billing.service
systemctl daemon-reload
systemctl start billing
