# Postfix, for everybody on this network.
postconf -e inet_interfaces=all
systemctl start postfix
