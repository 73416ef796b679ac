# PostgreSQL, which takes a known account's word for it from this network, and Redis.
echo "listen_addresses = '*'" > /etc/postgresql/15/main/conf.d/lab.conf
echo 'host load load samenet trust' >> /etc/postgresql/15/main/pg_hba.conf
sed -i 's/^bind .*/bind * -::*/; s/^protected-mode .*/protected-mode no/' /etc/redis/redis.conf
systemctl start postgresql redis-server
cd /
runuser -u postgres -- psql -qc 'create user load' -c 'create database load owner load'
