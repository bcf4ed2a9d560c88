"""One psql kept open on a database, for questions that come quickly after each other."""

import subprocess


class Psql:
    END = "end of the answer"

    def __init__(self, dsn):
        self.dsn = dsn
        self.process = None

    def rows(self, query):
        """Rows as lists of texts. ConnectionError: the server ended the session; the next call opens another."""
        if self.process is None:
            self.process = subprocess.Popen(
                ["psql", self.dsn, "-XAtq", "-F", "\t", "-v", "ON_ERROR_STOP=1"], text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        lines = []
        try:
            self.process.stdin.write(f"{query};\n\\echo {self.END}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it said why
        for line in self.process.stdout:
            if line == self.END + "\n":
                return [text.split("\t") for text in lines]
            lines.append(line.rstrip("\n"))
        self.close()
        raise ConnectionError("\n".join(lines))

    def close(self):
        if self.process is None:
            return
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.wait(60)
        self.process.stdout.close()
        self.process = None
