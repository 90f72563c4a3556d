"""A page that counts its visits: two replicas of a web service, and a counter that only they can reach."""

from stackpy import Container, File, HealthCheck, Image, Network, Output, Secret, Stack, Volume, template, var

Stack("quickstart")
greeting = var("greeting", default="Hello")
port = var("port", default=8080)

python = Image.host("python3", "sh")  # this machine's own programs: nothing is downloaded
backend = Network("backend", internal=True)
counts = Volume("counts")
# A real one comes from a password store: command=["pass", "show", "quickstart/token"], or env="TOKEN".
token = Secret("token", command=["sh", "-c", "uname -n | sha256sum"])

counter = Container(
    "counter",
    image=python.copy("counter.py", "/app/").cmd(["python3", "/app/counter.py"]),
    networks=[backend],
    volumes={counts: "/var/lib/counter"},
    secrets=[token],
    healthcheck=HealthCheck(tcp=7000, interval=1),
    restart="always",
)
Container(
    "web",
    image=python.copy("web.py", "/app/").cmd(["python3", "/app/web.py"]),
    replicas=2,
    networks=["default", backend],
    ports=[f"{port}:8000"],
    user="1000:1000",
    secrets=[token],
    files={"/etc/web.toml": File(template("web.toml.j2", greeting=greeting), on_change="restart")},
    depends_on=[counter.healthy],
    healthcheck=HealthCheck(http="http://localhost:8000/up", interval=1),
    mem_limit="128m",
    restart="always",
)
Output("url", f"http://localhost:{port}")
