# RabbitMQ, whose account may log in from elsewhere, with a queue for each client, and Tomcat.
echo 'loopback_users = none' > /etc/rabbitmq/rabbitmq.conf
systemctl start rabbitmq-server tomcat10
for client in desk agents; do
    amqp-declare-queue --url amqp://guest:guest@localhost -d -q load.$client
done
curl --silent --output /dev/null --retry 60 --retry-delay 1 --retry-connrefused localhost:8080
