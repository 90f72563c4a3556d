"""A guestbook: nginx in front of a Flask application, PostgreSQL behind it, a migration between."""

from stackpy import Container, File, HealthCheck, Image, Job, Network, Output, Secret, Stack, Volume, template, var

Stack("guestbook")
port = var("port", default=8000)
workers = var("workers", default=2)

APT = "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends"
APT_CACHE = ["/var/cache/apt", "/var/lib/apt/lists"]  # shared by all builds, in no layer

debian = Image.bootstrap("debian:bookworm", packages=["ca-certificates"])
postgres = (
    debian.file("/etc/postgresql-common/createcluster.conf", "create_main_cluster = false\n")  # start.sh makes it
    .run(f"{APT} -o Dpkg::Options::=--force-confold postgresql-15", cache=APT_CACHE)
    .run("install -d -o postgres -g postgres -m 700 /var/lib/postgresql/data")
    .copy("db/start.sh", "/usr/local/bin/")
    .user("postgres")
    .cmd(["sh", "/usr/local/bin/start.sh"])
)
app = (
    debian.run(f"{APT} python3-venv", cache=APT_CACHE)
    .copy("app/requirements.txt", "/app/")
    .run("python3 -m venv /venv && /venv/bin/pip install -r /app/requirements.txt", cache="/root/.cache/pip")
    .copy("app/", "/app/")
    .workdir("/app")
    .env(PATH="/venv/bin:/usr/bin:/bin", PYTHONUNBUFFERED="1")
    .cmd(["gunicorn", "--bind=0.0.0.0:8000", "--access-logfile=-", "app:app"])
    .tag("guestbook/app")
)
nginx = debian.run(f"{APT} nginx-light", cache=APT_CACHE).cmd(["nginx", "-g", "daemon off;"])

backend = Network("backend", internal=True)
frontend = Network("frontend")
data = Volume("data")
# Neither reaches an image, a plan or the disk. An apply needs the variables while the engine does not hold the values:
# the first time, after `destroy`, and after a reboot.
password = Secret("db_password", env="GUESTBOOK_DB_PASSWORD")
session_key = Secret("session_key", env="GUESTBOOK_SESSION_KEY")
database = {"PGHOST": "db", "PGUSER": "guestbook", "PGDATABASE": "guestbook", "PASSWORD_FILE": password.path}

db = Container(
    "db",
    image=postgres,
    networks=[backend],
    volumes={data: "/var/lib/postgresql/data"},
    secrets=[password],
    healthcheck=HealthCheck(["/usr/lib/postgresql/15/bin/pg_isready", "-q", "-h", "127.0.0.1"], interval=1, retries=30),
    stop_signal="SIGINT",  # PostgreSQL's fast shutdown: does not wait for clients
    mem_limit="512m",
    restart="always",
)
migrate = Job(
    "migrate",
    image=app,
    command=["python3", "migrate.py"],
    networks=[backend],
    secrets=[password],
    environment=database,
    depends_on=[db.healthy],
)
web = Container(
    "web",
    image=app,
    replicas=2,
    networks=[backend, frontend],
    user="www-data",
    secrets=[password, session_key],
    environment={**database, "SESSION_KEY_FILE": session_key.path, "WEB_CONCURRENCY": workers},
    depends_on=[migrate.completed],
    healthcheck=HealthCheck(http="http://localhost:8000/up", interval=1, retries=10),
    mem_limit="256m",
    restart="always",
)
Container(
    "nginx",
    image=nginx,
    networks=[frontend],
    ports=[f"{port}:80"],
    files={
        "/etc/nginx/nginx.conf": File(template("nginx/nginx.conf.j2", upstream=f"{web.name}:8000"), on_change="SIGHUP")
    },
    depends_on=[web.healthy],
    healthcheck=HealthCheck(http="http://localhost/nginx", interval=1, retries=10),
    restart="always",
)
Output("url", f"http://localhost:{port}")
