# RabbitMQ with an account that may log in from elsewhere, and Tomcat.
systemctl start rabbitmq-server tomcat10
rabbitmqctl -q await_startup < /dev/null
rabbitmqctl -q add_user load load < /dev/null
rabbitmqctl -q set_permissions load '.*' '.*' '.*' < /dev/null
for _ in $(seq 100); do
    curl --silent --output /dev/null localhost:8080 && break
    sleep 0.2
done
