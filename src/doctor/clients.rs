//! The programs that are tried: how each asks for a URL, by itself and with an option if it needs one.

/// A program, or one of several ways in which it makes requests.
pub(super) struct Client {
    /// What it is called.
    pub(super) name: &'static str,
    /// The program that must be installed.
    pub(super) program: &'static str,
    /// A shell's command that tells its version, and fails if what is needed besides the program is missing.
    pub(super) version: &'static str,
    /// A shell's script that asks for `$URL`, which ends in a slash and whose host and port are `$PLACE`. It runs in an empty
    /// directory that is its `$HOME`, too.
    pub(super) script: &'static str,
    /// What else it needs, if it does not work so: what to say of that, and the script with it.
    pub(super) option: Option<(&'static str, &'static str)>,
}

/// One without an option.
const fn plain(name: &'static str, program: &'static str, version: &'static str, script: &'static str) -> Client {
    Client {
        name,
        program,
        version,
        script,
        option: None,
    }
}

/// What a Node needs that does not look for a proxy in its environment.
const NODE: &str = "a proxy agent in its code, or version 22.21 or 24.5, which go by NODE_USE_ENV_PROXY";

/// What a proxy agent for Node does.
const NODE_AGENT: &str = "exec node -e '
const target = new URL(process.env.URL), proxy = new URL(process.env.https_proxy);
require(\"http\").request({ hostname: proxy.hostname, port: proxy.port, method: \"CONNECT\", path: target.host })
  .on(\"connect\", (_, socket) => require(\"tls\").connect({ socket, servername: target.hostname }, function () {
    this.end(`GET ${target.pathname} HTTP/1.0\\r\\n\\r\\n`); this.resume(); })).end();'";

/// A script that asks for `$URL` by Java, in this way.
macro_rules! java {
    ($way:literal) => {
        concat!(
            "cat > Fetch.java <<'END'\n",
            "import java.net.*; import java.net.http.*;\n",
            "class Fetch { public static void main(String[] words) throws Exception {\n",
            "  if (words[0].equals(\"old\")) new URL(words[1]).openStream().close();\n",
            "  else HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create(words[1])).build(),\n",
            "    HttpResponse.BodyHandlers.discarding());\n",
            "} }\n",
            "END\n",
            "exec java Fetch.java ",
            $way,
            " \"$URL\""
        )
    };
}

/// All of them.
pub(super) const CLIENTS: &[Client] = &[
    plain("curl", "curl", "curl --version", "exec curl -sS \"$URL\""),
    plain("wget", "wget", "wget --version", "exec wget -qO- --tries=1 \"$URL\""),
    plain("git", "git", "git --version", "exec git ls-remote \"${URL}repository\""),
    Client {
        name: "openssl s_client",
        program: "openssl",
        version: "openssl version",
        script: "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -verify_return_error -connect \"$PLACE\"",
        option: Some((
            "-proxy HOST:PORT",
            "printf 'GET %s HTTP/1.0\\r\\n\\r\\n' \"/${URL#*//*/}\" | openssl s_client -quiet -verify_return_error \
             -proxy \"${https_proxy#http://}\" -connect \"$PLACE\"",
        )),
    },
    plain(
        "Python, urllib",
        "python3",
        "python3 --version",
        "exec python3 -c 'import os, urllib.request; urllib.request.urlopen(os.environ[\"URL\"]).read()'",
    ),
    plain(
        "Python, requests",
        "python3",
        "python3 -c 'import requests; print(requests.__version__)'",
        "exec python3 -c 'import os, requests; requests.get(os.environ[\"URL\"])'",
    ),
    plain(
        "Python, httpx",
        "python3",
        "python3 -c 'import httpx; print(httpx.__version__)'",
        "exec python3 -c 'import os, httpx; httpx.get(os.environ[\"URL\"])'",
    ),
    Client {
        name: "Python, aiohttp",
        program: "python3",
        version: "python3 -c 'import aiohttp; print(aiohttp.__version__)'",
        script: "exec python3 -c 'import os, aiohttp, asyncio
async def main():
  async with aiohttp.ClientSession() as session: await session.get(os.environ[\"URL\"])
asyncio.run(main())'",
        option: Some((
            "ClientSession(trust_env=True)",
            "exec python3 -c 'import os, aiohttp, asyncio
async def main():
  async with aiohttp.ClientSession(trust_env=True) as session: await session.get(os.environ[\"URL\"])
asyncio.run(main())'",
        )),
    },
    plain(
        "pip",
        "python3",
        "python3 -m pip --version",
        "PIP_CONFIG_FILE=/dev/null exec python3 -m pip download --no-deps --no-cache-dir --disable-pip-version-check \
         --retries=0 -i \"$URL\" x",
    ),
    plain(
        "uv",
        "uv",
        "uv --version",
        "echo x > in.txt; UV_HTTP_RETRIES=0 exec uv pip compile --no-cache --index-url \"$URL\" in.txt",
    ),
    Client {
        name: "Node, https",
        program: "node",
        version: "node --version",
        script: "exec node -e 'require(\"https\").get(process.env.URL, answer => answer.resume())'",
        option: Some((NODE, NODE_AGENT)),
    },
    Client {
        name: "Node, fetch",
        program: "node",
        version: "node --version",
        script: "exec node -e 'fetch(process.env.URL)'",
        option: Some((NODE, NODE_AGENT)),
    },
    plain(
        "npm",
        "npm",
        "npm --version",
        "exec npm view x --registry=\"$URL\" --fetch-retries=0 --cache=npm",
    ),
    plain(
        "pnpm",
        "pnpm",
        "pnpm --version",
        "exec pnpm view x --registry=\"$URL\" --fetch-retries=0",
    ),
    plain(
        "Deno",
        "deno",
        "deno --version",
        "DENO_DIR=$PWD/deno DENO_NO_UPDATE_CHECK=1 exec deno eval 'await fetch(Deno.env.get(\"URL\"))'",
    ),
    plain(
        "Bun",
        "bun",
        "bun --version",
        "exec bun -e 'await fetch(process.env.URL)'",
    ),
    Client {
        name: "Java, HttpURLConnection",
        program: "java",
        version: "java -version",
        script: java!("old"),
        option: None,
    },
    Client {
        name: "Java, java.net.http",
        program: "java",
        version: "java -version",
        script: java!("new"),
        option: None,
    },
    plain(
        "Go, as in go itself",
        "go",
        "go version",
        "GOPROXY=\"$URL\" GONOSUMDB='*' GOFLAGS=-mod=mod GOTOOLCHAIN=local GOPATH=$PWD/go GOCACHE=$PWD/cache exec go list -m \
         example.com/x@latest",
    ),
    plain(
        "Ruby, net/http",
        "ruby",
        "ruby --version",
        "exec ruby -e 'require \"net/http\"; Net::HTTP.get(URI(ENV[\"URL\"]))'",
    ),
    Client {
        name: "PHP, streams",
        program: "php",
        version: "php --version",
        script: "exec php -r 'file_get_contents(getenv(\"URL\"));'",
        option: Some((
            "a stream context with `proxy`",
            "exec php -r '$proxy = str_replace(\"http:\", \"tcp:\", getenv(\"https_proxy\")); \
             file_get_contents(getenv(\"URL\"), false, stream_context_create([\"http\" => [\"proxy\" => $proxy, \
             \"request_fulluri\" => true]]));'",
        )),
    },
    plain(
        "PHP, curl",
        "php",
        "php -r 'exit(function_exists(\"curl_init\") ? 0 : 1);' && php --version",
        "exec php -r 'curl_exec(curl_init(getenv(\"URL\")));'",
    ),
    plain(
        "Perl, HTTP::Tiny",
        "perl",
        "perl -MIO::Socket::SSL -e 'print $^V'",
        "exec perl -e 'use HTTP::Tiny; HTTP::Tiny->new(verify_SSL => 1)->get($ENV{URL})'",
    ),
    Client {
        name: "Perl, LWP",
        program: "perl",
        version: "perl -MLWP::Protocol::https -e 'print $^V'",
        script: "exec perl -e 'use LWP::UserAgent; LWP::UserAgent->new->get($ENV{URL})'",
        option: Some((
            "env_proxy => 1, or PERL_LWP_ENV_PROXY=1",
            "exec perl -e 'use LWP::UserAgent; LWP::UserAgent->new(env_proxy => 1)->get($ENV{URL})'",
        )),
    },
    plain(
        "cargo",
        "cargo",
        "cargo --version",
        "CARGO_HOME=$PWD/cargo CARGO_NET_RETRY=0 exec cargo search x --index \"sparse+$URL\"",
    ),
    plain(
        "apt",
        "apt-get",
        "apt-get --version",
        "mkdir -p state/lists/partial cache/archives/partial parts && : > status && echo \"deb [trusted=yes] $URL ./\" > \
         sources && exec apt-get update -o Dir::Etc::SourceList=$PWD/sources -o Dir::Etc::SourceParts=$PWD/parts -o \
         Dir::State=$PWD/state -o Dir::State::status=$PWD/status -o Dir::Cache=$PWD/cache -o Acquire::Retries=0",
    ),
];
