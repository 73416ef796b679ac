# Kamailio, on its own address.
address=$(hostname -I | cut -d' ' -f1)
printf 'listen=udp:%s:5060\nlisten=tcp:%s:5060\n' "$address" "$address" > /etc/kamailio/kamailio-local.cfg
systemctl start kamailio
