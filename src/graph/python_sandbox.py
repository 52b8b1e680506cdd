"""Runs one marshalled function under limits. Reads a JSON request on standard input, answers JSON on standard output."""
import sys


def main():
    import base64, json, marshal, os, resource, types

    request = json.load(sys.stdin)
    answer = os.fdopen(os.dup(1), "wb")
    code = marshal.loads(base64.b64decode(request["code"]))
    if not isinstance(code, types.CodeType):
        raise TypeError("func_code holds a %s, expected a code object" % type(code).__name__)
    # What the function prints goes nowhere; only what it sets is its result.
    devnull = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(devnull, descriptor)
    # What the server was started with, such as a log's pipe, is inherited.
    os.closerange(3, answer.fileno())
    os.closerange(answer.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    # Neither Ctrl-C for the server nor its terminal is for the function.
    os.setsid()

    cpu = max(1, int(request["cpu_seconds"]))
    memory = int(request["memory_bytes"])
    if os.getuid() == 0:
        try:
            os.setgroups([])
        except OSError:
            pass  # A user namespace may forbid it; the process then has no groups outside it anyway.
        try:
            os.setgid(65534)
            os.setuid(65534)
        except OSError:
            pass  # Root of a user namespace with one mapping: nobody outside already.
    for limit, value in (
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 8),
    ):
        resource.setrlimit(limit, (value, value))
    try:
        guard()
        unguarded = None
    except Exception as error:
        unguarded = "%s: %s" % (type(error).__name__, error)

    class Output:
        def __init__(self):
            self.value = None

        def set(self, content):
            if self.value is not None:
                raise ValueError("a variable is set once")
            self.value = str(content)

    outputs = {name: Output() for name in request["outputs"]}
    arguments = dict(request["arguments"])
    arguments.update(outputs)
    try:
        types.FunctionType(code, {"__builtins__": __builtins__}, request["name"])(**arguments)
        result = {"values": {name: output.value for name, output in outputs.items()}}
    except BaseException as error:
        try:
            words = str(error)
        except BaseException as second:
            words = "its text raises %s" % type(second).__name__
        result = {"error": "%s: %s" % (type(error).__name__, words)}
    result["unguarded"] = unguarded
    try:
        written = json.dumps(result).encode()
    except MemoryError:
        # Non-ASCII characters take six when they are written.
        result = {"error": "MemoryError: its results cannot be written", "unguarded": unguarded}
        written = json.dumps(result).encode()
    answer.write(written)
    answer.flush()
    os._exit(0)


main()
