import { assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { checkPython } from "../../src/server/check_python.ts";
import { GraphError } from "../../src/graph/graph_error.ts";
import { pythonSandbox } from "../../src/graph/python_sandbox.ts";

/** Marshals `source`'s function f as Parrot's client does; undefined without a Python. */
async function marshal(source: string): Promise<string | undefined> {
  const program = "import marshal,base64,sys\nspace={}\nexec(sys.argv[1],space)\n" +
    "print(base64.b64encode(marshal.dumps(space['f'].__code__)).decode(),end='')";
  try {
    const { success, stdout } = await new Deno.Command("python3", { args: ["-c", program, source] })
      .output();
    return success ? new TextDecoder().decode(stdout) : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

const available = await marshal("def f(): pass") !== undefined;
if (!available) console.log("skipped: native functions need python3, which is not installed");
const sandbox = pythonSandbox();

async function run(source: string, args: Record<string, unknown> = {}, timeoutMs = 1000) {
  const code = await marshal(source) ?? "";
  const request = { name: "f", code, arguments: args, outputs: ["out"], timeoutMs };
  return await sandbox.run(request, { signal: new AbortController().signal });
}

const cases: [string, string, RegExp][] = [
  ["an exception", "def f(out):\n  raise ValueError('no good')", /raised ValueError: no good/],
  [
    "an exception without a text",
    "def f(out):\n  class E(Exception):\n    def __str__(self): raise KeyError()\n  raise E()",
    /raised E: its text raises KeyError/,
  ],
  ["an output never set", "def f(out):\n  pass", /did not set out/],
  ["an output set twice", "def f(out):\n  out.set('a')\n  out.set('b')", /set once/],
  ["an endless loop", "def f(out):\n  while True: pass", /ran over its 200 ms/],
  ["a long sleep", "def f(out):\n  import time\n  time.sleep(60)", /ran over its 200 ms/],
  ["too much memory", "def f(out):\n  out.set('a' * 10**10)", /MemoryError/],
  [
    "a new process",
    "def f(out):\n  import os\n  os.fork()\n  out.set('x')",
    /raised (BlockingIOError|PermissionError)/,
  ],
  [
    "the network",
    "def f(out):\n  import socket\n  socket.create_connection(('1.1.1.1', 53), 1)",
    /raised (OSError|TimeoutError|PermissionError)/,
  ],
  ["a signal", "def f(out):\n  import os\n  os.kill(os.getpid(), 0)", /raised PermissionError/],
  [
    "a signal that the owner of a pipe would get",
    "def f(out):\n  import fcntl, os\n  fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, os.getpid())",
    /raised PermissionError/,
  ],
  [
    "the choice of that signal",
    "def f(out):\n  import fcntl, os\n  fcntl.fcntl(os.pipe()[0], 10, 9)",
    /raised PermissionError/,
  ],
  [
    "a signal that the owner of a pair of sockets would get",
    "def f(out):\n  import fcntl, os, socket, struct\n" +
    "  fcntl.ioctl(socket.socketpair()[0], 0x8901, struct.pack('i', os.getpid()))",
    /raised PermissionError/,
  ],
  [
    "another program",
    "def f(out):\n  import os\n  os.execv('/bin/sh', ['sh', '-c', ':'])",
    /raised PermissionError/,
  ],
  [
    "a socket of the file system",
    "def f(out):\n  import socket\n  socket.socket(socket.AF_UNIX)",
    /raised PermissionError/,
  ],
  [
    "a new file",
    "def f(out):\n  import os\n  os.close(os.open('/tmp/sparrow-%d' % os.getpid(), os.O_CREAT, 0o600))",
    /raised PermissionError/,
  ],
  [
    "a file opened for writing",
    "def f(out):\n  open('/dev/null', 'w')",
    /raised PermissionError/,
  ],
  [
    "memory that would outlive it",
    "def f(out):\n  import ctypes, os\n  c = ctypes.CDLL(None, use_errno=True)\n" +
    "  m = c.shmget(0, 4096, 0o1600)\n  e = ctypes.get_errno()\n  c.shmctl(m, 0, None)\n" +
    "  raise OSError(e if m < 0 else 0, 'made')",
    /raised PermissionError/,
  ],
  [
    "a namespace",
    "def f(out):\n  import ctypes\n  c = ctypes.CDLL(None, use_errno=True)\n" +
    "  raise OSError(ctypes.get_errno() if c.unshare(0x10000000) < 0 else 0, 'made')",
    /raised PermissionError/,
  ],
  [
    "a result that is too large",
    "def f(out):\n  out.set('a' * (20 * 1024 * 1024))",
    /results of over 16777216 bytes/,
  ],
];

Deno.test({
  name: "pythonSandbox runs a function on values, and returns what it sets",
  ignore: !available,
  async fn() {
    const values = await run(
      "def f(text, times, out):\n  print('lost')\n  out.set(text.upper() * times)",
      {
        text: "ab ü",
        times: 2,
      },
    );
    assertEquals(values, { out: "AB ÜAB Ü" });
  },
});

for (const [what, source, message] of cases) {
  Deno.test({
    name: `pythonSandbox turns ${what} into an error`,
    ignore: !available,
    async fn() {
      const error = await assertRejects(() => run(source, {}, 200), GraphError);
      assertMatch(error.message, message);
    },
  });
}

Deno.test({
  name:
    "pythonSandbox takes nothing but texts of its outputs from a function that writes its own result",
  ignore: !available,
  async fn() {
    for (
      const result of [
        "[]",
        "null",
        "7",
        "{{{",
        '{"values": null}',
        '{"values": {}}',
        '{"values": {"out": 5}}',
        '{"values": {"out": ["a"]}}',
        '{"values": {"out": {"length": -1e12}}}',
        '{"error": {"message": "a"}}',
      ]
    ) {
      const error = await assertRejects(() => run(writes(result)), GraphError, "f wrote something");
      assertEquals(error.code, "failed");
    }
    assertEquals(await run(writes('{"values": {"out": "a", "more": "b"}}')), { out: "a" });
  },
});

/** A function that finds the descriptor of its process's answer, and writes `result` there. */
function writes(result: string): string {
  return `def f(out):\n  import os\n  os.write(3, ${
    JSON.stringify(result)
  }.encode())\n  os._exit(0)`;
}

Deno.test({
  name: "pythonSandbox says that there was no memory to write a result",
  ignore: !available,
  async fn() {
    const source = "def f(out):\n  out.set('\\u1234' * (8 * 10**7))";
    await assertRejects(() => run(source, {}, 20_000), GraphError, "raised MemoryError: its");
  },
});

Deno.test({
  name: "pythonSandbox runs what reads files and the clock, and an event loop",
  ignore: !available,
  async fn() {
    const source = "def f(out):\n  import asyncio, os, sqlite3, time\n" +
      "  async def g():\n    await asyncio.sleep(0.01)\n    return 3\n" +
      "  base = sqlite3.connect(':memory:')\n  base.execute('create table a (b)')\n" +
      "  out.set(str((asyncio.run(g()), 'etc' in os.listdir('/'), open('/etc/passwd').read(4), time.time() > 0)))";
    assertEquals(await run(source), { out: "(3, True, 'root', True)" });
  },
});

Deno.test({
  name:
    "pythonSandbox leaves no function behind, nor inherited descriptors to one, when its own process is killed",
  ignore: !available || Deno.build.os !== "linux",
  async fn() {
    const code = await marshal("def f(out):\n  import time\n  time.sleep(60)") ?? "";
    const request = { name: "f", code, arguments: {}, outputs: ["out"], timeoutMs: 60_000 };
    const module = import.meta.resolve("../../src/graph/python_sandbox.ts");
    const program = `import { pythonSandbox } from ${JSON.stringify(module)};
      pythonSandbox().run(${JSON.stringify(request)}, { signal: new AbortController().signal });`;
    const config = new URL("../../deno.json", import.meta.url).pathname;
    const server = new Deno.Command("/bin/sh", {
      args: ["-c", 'exec "$@" 7</dev/null', "sh", Deno.execPath(), "eval", "-c", config, program],
    }).spawn();
    const child = await eventually(() => functionOf(server.pid));
    // Its limits are the last that it sets before it is guarded.
    await eventually(() => /Seccomp:\t2/.test(textOf(`/proc/${child}/status`) ?? ""));
    const open = [...Deno.readDirSync(`/proc/${child}/fd`)].map(({ name }) => name);
    server.kill("SIGKILL");
    await server.status;
    await eventually(() => textOf(`/proc/${child}/status`) === undefined);
    assertEquals(open.includes("7"), false);
  },
});

/** The process of this parent that runs a function. */
function functionOf(parent: number): string | undefined {
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const isChild = textOf(`/proc/${name}/status`)?.includes(`\nPPid:\t${parent}\n`);
    if (isChild && textOf(`/proc/${name}/cmdline`)?.includes("marshalled function")) return name;
  }
  return undefined;
}

/** A process's file; undefined when it has ended. */
function textOf(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined;
  }
}

async function eventually<T>(look: () => T): Promise<NonNullable<T>> {
  for (let i = 0; i < 600; i++) {
    const found = look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("waited 30 s in vain");
}

Deno.test({
  name: "pythonSandbox refuses what is no code object",
  ignore: !available,
  async fn() {
    const request = { name: "f", code: "AAAA", arguments: {}, outputs: [], timeoutMs: 100 };
    const error = await assertRejects(
      () => sandbox.run(request, { signal: new AbortController().signal }),
      GraphError,
    );
    assertMatch(error.message, /minor version/);
  },
});

Deno.test({
  name: "pythonSandbox lets a cancelled function go that still waits for its turn",
  ignore: !available,
  async fn() {
    const code = await marshal("def f(out):\n  import time\n  time.sleep(0.5)\n  out.set('x')") ??
      "";
    const request = { name: "f", code, arguments: {}, outputs: ["out"], timeoutMs: 5000 };
    const ended: string[] = [];
    const running = [0, 1, 2, 3].map(async () => {
      await sandbox.run(request, { signal: new AbortController().signal });
      ended.push("ran");
    });
    const reason = new GraphError("cancelled", "left");
    const abort = new AbortController();
    const waiting = sandbox.run(request, { signal: abort.signal }).catch((error) => {
      assertEquals(error, reason);
      ended.push("left");
    });
    setTimeout(() => abort.abort(reason), 20);
    await Promise.all([...running, waiting]);
    assertEquals(ended, ["left", "ran", "ran", "ran", "ran"]);
  },
});

Deno.test({
  name:
    "checkPython takes CPython, by a relative path too, as pythonSandbox does, and names what is none",
  ignore: !available,
  async fn() {
    await checkPython();
    for (
      const [python, words] of [
        ["/nowhere/python", "No such file"],
        ["python-of-nobody", "python-of-nobody"],
        ["/bin/echo", "says"],
        ["/bin/false", "exit code 1"],
      ]
    ) {
      const error = await assertRejects(
        () => checkPython(python),
        TypeError,
        `python: ${python}: `,
      );
      assertStringIncludes(error.message, words);
      assertStringIncludes(error.message, "expected an interpreter of CPython");
    }
    const folder = await Deno.makeTempDir({ dir: Deno.cwd() });
    try {
      const { stdout } = await new Deno.Command("/bin/sh", {
        args: ["-c", "command -v python3"],
        env: { PATH: "/usr/local/bin:/usr/bin:/bin" },
      }).output();
      await Deno.symlink(new TextDecoder().decode(stdout).trim(), `${folder}/python`);
      const relative = `./${folder.slice(Deno.cwd().length + 1)}/python`;
      await checkPython(relative);
      const code = await marshal("def f(out):\n  out.set('there')") ?? "";
      const request = { name: "f", code, arguments: {}, outputs: ["out"], timeoutMs: 1000 };
      const { signal } = new AbortController();
      assertEquals(await pythonSandbox(relative).run(request, { signal }), { out: "there" });
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
