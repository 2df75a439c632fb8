"""A Kafka broker of the comparison's own: one node on free ports of 127.0.0.1, with the settings of the tests."""

import re
import shutil
import socket
import time

import process

CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"
READY = "Kafka Server started"
START_SECONDS = 180
STARTS_MAX = 3
TOPIC_SECONDS = 120


class Broker:
    """A running broker; leaving the `with` stops it and removes its data."""

    def __init__(self, root, jars, folder):
        self.root, self.jars, self.folder = root, jars, folder

    def __enter__(self):
        for _ in range(STARTS_MAX):
            if self._start():
                return self
            self.__exit__()
        raise process.Failure(f"the broker does not start: {process.last_line(self.log)}")

    def __exit__(self, *_):
        process.end(self.jvm, patience=20)
        shutil.rmtree(self.folder / "data", ignore_errors=True)

    def create(self, topic, partitions=4):
        """Makes a topic."""
        self._topics("--create", "--topic", topic, "--partitions", str(partitions), "--replication-factor", "1")

    def delete(self, pattern):
        """Removes the topics whose whole names match a regular expression."""
        self._topics("--delete", "--if-exists", "--topic", pattern)

    def _start(self):
        """Starts the broker; returns whether it is ready, or ended by itself, as when somebody took a port."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.log = self.folder / "broker.log"
        port, controller = free_ports(2)
        self.bootstrap = f"127.0.0.1:{port}"
        settings = self.folder / "server.properties"
        settings.write_text(self._settings(port, controller))
        storage = self._java("kafka.tools.StorageTool", "-Xmx128m")
        process.measure([*storage, "format", "-t", CLUSTER_ID, "-c", settings], self.log, START_SECONDS)
        self.jvm = process.start([*self._java("kafka.Kafka", "-Xmx1g"), settings], self.log)
        deadline = time.monotonic() + START_SECONDS
        while READY not in self.log.read_text(errors="replace"):
            if process.wait(self.jvm, 0.1) or time.monotonic() > deadline:
                return False
        return True

    def _settings(self, port, controller):
        texts = [self.root / "tests/broker" / f"{name}.properties.in" for name in ("common", "plain")]
        values = {
            "ROLES": "broker,controller",
            "NODE": 1,
            "PORT": port,
            "CONTROLLER_PORT": controller,
            "DATA": self.folder / "data",
        }
        template = "\n".join(text.read_text() for text in texts)
        return re.sub(r"@([A-Z_]+)@", lambda found: str(values[found[1]]), template)

    def _java(self, name, memory):
        logging = self.root / "tests/broker/log4j2.xml"
        options = ["-XX:+UseSerialGC", "-Djava.net.preferIPv4Stack=true", f"-Dlog4j2.configurationFile={logging}"]
        return ["java", memory, *options, "-cp", f"{self.jars}/*", name]

    def _topics(self, *arguments):
        tool = self._java("org.apache.kafka.tools.TopicCommand", "-Xmx128m")
        process.measure([*tool, "--bootstrap-server", self.bootstrap, *arguments], self.log, TOPIC_SECONDS)


def free_ports(count):
    """Returns ports that nobody listens at now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [open_socket.getsockname()[1] for open_socket in sockets]
    for open_socket in sockets:
        open_socket.close()
    return ports
