//! Which programs and which sockets are captured, and what they are told.

use std::{fs, process::Command};

use super::{ADDRESS, ADDRESS6, captured, counts, is_possible, part, program, python, run_python, server};
use crate::support::say_skipped;

/// Checks that a script reaches the server by `$PLACE`, and that its request was seen.
#[track_caller]
fn check(script: &str, files: &[(&str, &str)]) {
    if !is_possible() {
        return;
    }
    let server = server();
    let run = captured(&[]);
    for (name, text) in files {
        fs::write(run.home().join(name), text).unwrap();
    }
    let place = format!("{ADDRESS}:{}", server.address().port());
    let run = run.env("PORT", server.address().port().to_string());
    let outcome = run.env("PLACE", place).shell(script).outcome();
    assert_eq!(outcome.stdout().trim(), "hi", "{outcome}");
    assert_eq!(counts(&outcome), (1, 0), "{outcome}");
    assert_eq!(part(&outcome, "/totals/requests/total"), 1, "{outcome}");
    assert_eq!(part(&outcome, "/hosts/0/host"), ADDRESS, "{outcome}");
    assert_eq!(server.connections(), 1);
}

/// Checks that Python code reaches the server, which it says by `reached`.
#[track_caller]
fn check_python(code: &str) {
    if !is_possible() {
        return;
    }
    let server = server();
    let Some(outcome) = run_python(captured(&[]), &server, code) else {
        return;
    };
    assert_eq!(outcome.stdout(), "reached\n", "{outcome}");
    assert_eq!(counts(&outcome), (1, 0), "{outcome}");
    assert_eq!(part(&outcome, "/totals/requests/ok"), 1, "{outcome}");
}

/// Says that the socket `made` has reached the server if it answers a request.
const ASK: &str = "made.sendall(b'GET / HTTP/1.1\\r\\nHost: h.test\\r\\n\\r\\n')\n\
                   answer = b''\n\
                   while not answer.endswith(b'hi'): answer += made.recv(4096)\n\
                   made.close()\n\
                   print('reached')\n";

#[test]
fn curl_that_is_to_go_directly() {
    if program("curl", &["--version"]).is_some() {
        check("exec curl -sS --noproxy '*' http://$PLACE/", &[]);
    }
}

#[test]
fn a_static_program() {
    let code = "#include <arpa/inet.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n\
                #include <sys/socket.h>\n#include <unistd.h>\n\
                int main(void) {\n\
                struct sockaddr_in place = { .sin_family = AF_INET, .sin_port = htons(atoi(getenv(\"PORT\"))) };\n\
                inet_aton(\"203.0.113.5\", &place.sin_addr);\n\
                int made = socket(AF_INET, SOCK_STREAM, 0);\n\
                if (connect(made, (struct sockaddr *)&place, sizeof place)) { perror(\"connect\"); return 1; }\n\
                const char *ask = \"GET / HTTP/1.1\\r\\nHost: 203.0.113.5\\r\\nConnection: close\\r\\n\\r\\n\";\n\
                write(made, ask, strlen(ask));\n\
                char room[4096] = {0}; int had = 0, got;\n\
                while ((got = read(made, room + had, sizeof room - 1 - had)) > 0) had += got;\n\
                puts(room + had - 2);\n}\n";
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("reach.c");
    fs::write(&source, code).unwrap();
    let made = directory.path().join("reach");
    let mut compiling = Command::new("cc");
    let compiled = compiling.arg("-static").arg("-o").arg(&made).arg(&source).output();
    if !compiled.is_ok_and(|compiled| compiled.status.success()) {
        return say_skipped("there is no C compiler with a static library here");
    }
    check(&made.display().to_string(), &[]);
}

#[test]
fn java_without_properties() {
    if program("java", &["--version"]).is_none() {
        return;
    }
    let code = "import java.net.*; public class Reach { public static void main(String[] words) throws Exception {\n\
                var made = (HttpURLConnection) URI.create(\"http://\" + System.getenv(\"PLACE\") + \"/\").toURL()\n\
                .openConnection(Proxy.NO_PROXY);\n\
                System.out.println(new String(made.getInputStream().readAllBytes())); } }\n";
    check("exec java -Xshare:auto Reach.java 2> said", &[("Reach.java", code)]);
}

#[test]
fn node_with_its_own_agent() {
    if program("node", &["--version"]).is_none() {
        return;
    }
    let code = "const agent = new (require('http').Agent)();\n\
                require('http').get('http://' + process.env.PLACE + '/', { agent }, answer => {\n\
                answer.on('data', data => process.stdout.write(data)); });\n";
    check("exec node reach.js", &[("reach.js", code)]);
}

#[test]
fn php_with_its_streams() {
    if program("php", &["--version"]).is_some() {
        check(
            "exec php -r 'echo file_get_contents(\"http://\" . getenv(\"PLACE\") . \"/\");'",
            &[],
        );
    }
}

#[test]
fn sockets_that_wait() {
    check_python(&format!("made = socket.create_connection(('{ADDRESS}', port))\n{ASK}"));
    check_python(&format!(
        "made = socket.create_connection(('{ADDRESS}', port), timeout=9)\n{ASK}"
    ));
    check_python(&format!(
        "made = socket.socket()\nmade.bind(('0.0.0.0', 0))\nmade.connect(('{ADDRESS}', port))\n{ASK}"
    ));
}

#[test]
fn sockets_that_do_not_wait_are_told_so_and_then_that_they_are_connected() {
    check_python(&format!(
        "import errno, select\n\
         made = socket.socket()\n\
         made.setblocking(False)\n\
         watch = select.epoll()\n\
         watch.register(made, select.EPOLLOUT)\n\
         assert made.connect_ex(('{ADDRESS}', port)) == errno.EINPROGRESS\n\
         assert watch.poll(9)[0][0] == made.fileno()\n\
         assert made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0\n\
         assert made.connect_ex(('{ADDRESS}', port)) in (0, errno.EISCONN)\n\
         assert made.connect_ex(('{ADDRESS}', port)) == errno.EISCONN\n\
         assert not made.getblocking()\n\
         made.setblocking(True)\n{ASK}"
    ));
}

#[test]
fn sockets_of_ipv6() {
    check_python(&format!(
        "made = socket.socket(socket.AF_INET6)\nmade.connect(('::ffff:{ADDRESS}', port))\n{ASK}"
    ));
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return say_skipped("this machine has no IPv6");
    }
    for only in [0, 1] {
        check_python(&format!(
            "made = socket.socket(socket.AF_INET6)\n\
             made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, {only})\n\
             made.connect(('{ADDRESS6}', port))\n{ASK}"
        ));
    }
}

#[test]
fn threads_and_processes_of_the_command() {
    let ask = ASK.replace('\n', "\n    ");
    let code = format!("def ask():\n    made = socket.create_connection(('{ADDRESS}', port))\n    {ask}\n");
    check_python(&format!(
        "{code}import threading\nthread = threading.Thread(target=ask)\nthread.start()\nthread.join()\n"
    ));
    check_python(&format!(
        "{code}import time\nif os.fork() == 0:\n    if os.fork() == 0:\n        ask()\n        sys.stdout.flush()\n        \
         os._exit(0)\n    os.wait()\n    os._exit(0)\nos.wait()\n"
    ));
}

#[test]
fn what_the_command_leaves_in_the_background() {
    if program("setsid", &["--version"]).is_some() && program("curl", &["--version"]).is_some() {
        check(
            "setsid --fork env -i PATH=\"$PATH\" PLACE=$PLACE sh -c \
             'curl -sS --noproxy \"*\" -o out http://$PLACE/; mv out done'; \
             while ! cat done 2> nothing; do sleep 0.02; done",
            &[],
        );
    }
}

#[test]
fn many_at_once() {
    if !is_possible() {
        return;
    }
    let server = server();
    let code = format!(
        "import asyncio\n\
         async def ask():\n    \
         come, go = await asyncio.open_connection('{ADDRESS}', port)\n    \
         go.write(b'GET / HTTP/1.1\\r\\nHost: h.test\\r\\n\\r\\n')\n    \
         answer = await come.readuntil(b'hi')\n    \
         go.close()\n    \
         return answer.startswith(b'HTTP/1.1 200')\n\
         async def all():\n    \
         return sum(await asyncio.gather(*(ask() for _ in range(400))))\n\
         print(asyncio.run(all()))\n"
    );
    let Some(outcome) = run_python(captured(&["--threads=2"]), &server, &code) else {
        return;
    };
    assert_eq!(outcome.stdout(), "400\n", "{outcome}");
    assert_eq!(counts(&outcome), (400, 0));
    assert_eq!(part(&outcome, "/totals/requests/ok"), 400);
}

#[test]
fn what_would_go_around_does_not_exist_and_programs_connect_instead() {
    if !is_possible() || !cfg!(target_os = "linux") {
        return;
    }
    let server = server();
    let code = format!(
        "import ctypes, errno\n\
         libc = ctypes.CDLL(None, use_errno=True)\n\
         assert libc.syscall(425, 1, ctypes.create_string_buffer(128)) == -1\n\
         assert ctypes.get_errno() == errno.ENOSYS, ctypes.get_errno()\n\
         made = socket.socket()\n\
         try: made.sendto(b'x', socket.MSG_FASTOPEN, ('{ADDRESS}', port))\n\
         except OSError as error: assert error.errno == errno.EOPNOTSUPP, error\n\
         else: assert False\n\
         made.connect(('{ADDRESS}', port))\n{ASK}"
    );
    let Some(outcome) = run_python(captured(&[]), &server, &code) else {
        return;
    };
    assert_eq!(outcome.stdout(), "reached\n", "{outcome}");
}

#[test]
fn what_is_no_tcp_and_what_is_wrong_is_left_to_the_kernel() {
    if !is_possible() || python().is_none() {
        return;
    }
    let server = server();
    let code = format!(
        "import errno\n\
         made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         made.connect(('{ADDRESS}', 53))\n\
         assert made.getpeername() == ('{ADDRESS}', 53)\n\
         one, other = socket.socketpair()\n\
         listener = socket.socket(socket.AF_UNIX)\n\
         listener.bind('\\0amb-test-%d' % os.getpid())\n\
         listener.listen()\n\
         socket.socket(socket.AF_UNIX).connect('\\0amb-test-%d' % os.getpid())\n\
         import ctypes\n\
         libc = ctypes.CDLL(None, use_errno=True)\n\
         place = b'\\x02\\x00\\x00\\x50\\xcb\\x00\\x71\\x05' + bytes(8)\n\
         def fails(number, *words):\n    \
         assert libc.connect(*words) == -1 and ctypes.get_errno() == number, ctypes.get_errno()\n\
         fails(errno.EBADF, 999, place, 16)\n\
         fails(errno.ENOTSOCK, os.open('/dev/null', os.O_RDONLY), place, 16)\n\
         fails(errno.EFAULT, socket.socket().detach(), None, 16)\n\
         fails(errno.EINVAL, socket.socket().detach(), place, 3)\n\
         listening = socket.create_server(('127.0.0.1', 0))\n\
         fails(errno.EISCONN, listening.fileno(), place, 16)\n\
         print('done')\n"
    );
    let Some(outcome) = run_python(captured(&[]), &server, &code) else {
        return;
    };
    assert_eq!(outcome.stdout(), "done\n", "{outcome}");
    assert_eq!(counts(&outcome), (0, 0));
}
