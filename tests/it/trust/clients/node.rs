//! The clients that run in Node, Deno and Bun.

use super::Client;

/// Tells the version of a Node that looks for a proxy in its environment: since 22.21, and 24.5 for `http`.
const KNOWS: &str = "node -e 'process.exit(process.allowedNodeEnvironmentFlags.has(\"--use-env-proxy\") ? 0 : 1)' && node \
                     --version";

/// Tells the version of one that does not.
const KNOWS_NOT: &str = "node -e 'process.exit(process.allowedNodeEnvironmentFlags.has(\"--use-env-proxy\") ? 1 : 0)' && \
                         node --version";

/// What an agent for proxies does.
const AGENT: &str = "exec node -e '
const target = new URL(process.env.URL), proxy = new URL(process.env.https_proxy);
require(\"http\").request({ hostname: proxy.hostname, port: proxy.port, method: \"CONNECT\", path: target.host })
  .on(\"connect\", (_, socket) => require(\"tls\").connect({ socket, servername: target.hostname }, function () {
    this.end(`GET ${target.pathname} HTTP/1.0\\r\\n\\r\\n`); this.resume(); })).end();'";

/// What is asked of Node itself: its names, and how.
const OWN: [(&str, &str); 2] = [
    (
        "https",
        "require(\"https\").get(process.env.URL, answer => answer.resume())",
    ),
    ("fetch", "fetch(process.env.URL)"),
];

/// The same of packages that go by what Node does.
const BY_NODE: [(&str, &str); 1] = [(
    "got",
    "const got = require(\"got\"); (got.got || got).get(process.env.URL)",
)];

/// The same of packages that look at the environment themselves.
const BY_THEMSELVES: [(&str, &str); 4] = [
    ("axios", "require(\"axios\").get(process.env.URL)"),
    ("request", "require(\"request\").get(process.env.URL)"),
    ("needle", "require(\"needle\").get(process.env.URL, () => {})"),
    (
        "undici",
        "const undici = require(\"undici\"); undici.setGlobalDispatcher(new undici.EnvHttpProxyAgent()); \
         undici.fetch(process.env.URL)",
    ),
];

/// A script for Node.
fn script(code: &str) -> String {
    format!("exec node -e '{code}'")
}

/// Tells the version of a package, on a Node of whatever age.
fn package(name: &str, node: &str) -> String {
    format!("node -e 'require(\"{name}\")' && {node} && echo {name}")
}

/// All of them, and the tools that are written in it.
pub(super) fn clients() -> Vec<Client> {
    let mut clients = Vec::new();
    for (name, code) in OWN {
        let name = format!("Node, {name}");
        clients.push(Client::works(&name, KNOWS, &script(code)));
        let old = Client::ignores(&format!("{name}, before 22.21"), KNOWS_NOT, &script(code));
        clients.push(old.but_for("an agent for proxies", AGENT).unless_captured());
    }
    for (name, code) in BY_NODE {
        clients.push(Client::works(
            &format!("Node, {name}"),
            &package(name, KNOWS),
            &script(code),
        ));
        let old = format!("Node, {name}, before 22.21");
        let old = Client::ignores(&old, &package(name, KNOWS_NOT), &script(code));
        clients.push(old.but_for("an agent for proxies", AGENT).unless_captured());
    }
    for (name, code) in BY_THEMSELVES {
        let version = package(name, "node --version");
        clients.push(Client::works(&format!("Node, {name}"), &version, &script(code)));
    }
    clients.extend([
        Client::ignores(
            "Node, superagent",
            &package("superagent", "node --version"),
            &script("require(\"superagent\").get(process.env.URL).then(() => {})"),
        )
        .unless_captured(),
        Client::works(
            "npm",
            "npm --version",
            "exec npm view x --registry=\"$URL\" --fetch-retries=0 --cache=npm",
        ),
        Client::works(
            "Yarn 1",
            "yarn --version | grep '^1[.]'",
            "exec yarn info x --registry \"$URL\" --cache-folder yarn",
        ),
        Client::works(
            "Yarn",
            "yarn --version | grep -v '^1[.]'",
            "echo '{}' > package.json; : > yarn.lock; YARN_NPM_REGISTRY_SERVER=$URL YARN_HTTP_RETRY=0 exec yarn npm info x",
        ),
        Client::works(
            "pnpm",
            "pnpm --version",
            "exec pnpm view x --registry=\"$URL\" --fetch-retries=0",
        ),
        Client::works(
            "Deno, fetch",
            "deno --version",
            "DENO_DIR=$PWD/deno DENO_NO_UPDATE_CHECK=1 exec deno eval 'await fetch(Deno.env.get(\"URL\"))'",
        ),
        Client::works("Bun, fetch", "bun --version", "exec bun -e 'await fetch(process.env.URL)'"),
    ]);
    clients
}
