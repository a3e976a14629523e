//! The clients that run in Python.

use super::{Client, Proof};

/// Python with a module, whose name and version it tells.
fn version(module: &str) -> String {
    format!(
        "\"$PYTHON\" -c 'import {module}, sys; print(\"{module}\", getattr({module}, \"__version__\", \"\"), \"on\", \
         sys.version.split()[0])'"
    )
}

/// A script of Python, in which `url` is the server's.
fn script(code: &str) -> String {
    format!("exec \"$PYTHON\" -c 'import os; url = os.environ[\"URL\"]\n{code}'")
}

/// A client in a module that works as it is.
fn works(module: &str, code: &str) -> Client {
    Client::works(&format!("Python, {module}"), &version(module), &script(code))
}

/// A client in a module that does not look for a proxy.
fn ignores(module: &str, code: &str) -> Client {
    Client::ignores(&format!("Python, {module}"), &version(module), &script(code))
}

/// A request by httplib2, which leaves proxies to another module.
const HTTPLIB2: &str = "import httplib2\nhttplib2.Http().request(url)";

/// All of them, and the tools that are written in it.
pub(super) fn clients() -> Vec<Client> {
    vec![
        works(
            "urllib.request",
            "import urllib.request\nurllib.request.urlopen(url).read()",
        ),
        works("requests", "import requests\nrequests.get(url)"),
        works("httpx", "import httpx\nhttpx.get(url)"),
        Client::works(
            "Python, httplib2",
            &format!("{} && \"$PYTHON\" -c 'import socks'", version("httplib2")),
            &script(HTTPLIB2),
        ),
        Client::ignores(
            "Python, httplib2, without PySocks",
            &format!("{} && ! \"$PYTHON\" -c 'import socks' 2>&-", version("httplib2")),
            &script(HTTPLIB2),
        )
        .unless_captured(),
        pycurl(),
        works(
            "boto3",
            "import boto3, botocore.config\nconfig = botocore.config.Config(retries={\"max_attempts\": 0})\n\
             boto3.client(\"s3\", endpoint_url=url, region_name=\"x\", aws_access_key_id=\"x\", \
             aws_secret_access_key=\"x\", config=config).list_buckets()",
        ),
        works(
            "grpc",
            "import grpc\nplace = os.environ[\"PLACE\"]\nchannel = grpc.secure_channel(place, \
             grpc.ssl_channel_credentials())\ngrpc.channel_ready_future(channel).result(timeout=8)",
        )
        .seen_by(Proof::Http2),
        aiohttp(),
        urllib3(),
        urllib3_of_debian(),
        ignores(
            "http.client",
            "import http.client\nconnection = http.client.HTTPSConnection(os.environ[\"PLACE\"])\n\
             connection.request(\"GET\", \"/\")\nconnection.getresponse()",
        )
        .unless_captured(),
        ignores(
            "tornado",
            "import tornado.httpclient\ntornado.httpclient.HTTPClient().fetch(url)",
        )
        .unless_captured(),
        Client::works(
            "pip",
            &version("pip"),
            "exec \"$PYTHON\" -m pip download --no-deps --no-cache-dir --disable-pip-version-check --retries=0 -i \"$URL\" x",
        ),
        Client::works(
            "uv",
            "uv --version",
            "echo x > in.txt; UV_HTTP_RETRIES=0 exec uv pip compile --no-cache --index-url \"$URL\" in.txt",
        ),
        Client::works(
            "Poetry",
            "poetry --version",
            "printf '[project]\\nname=\"a\"\\nversion=\"1\"\\nrequires-python=\">=3.9\"\\ndependencies=[\"x\"]\\n\
             [[tool.poetry.source]]\\nname=\"x\"\\nurl=\"%s\"\\npriority=\"primary\"\\n' \"$URL\" > pyproject.toml\n\
             exec poetry --no-interaction lock",
        ),
        Client::works("HTTPie", "http --version", "exec http --ignore-stdin GET \"$URL\""),
        Client::works(
            "AWS CLI",
            "aws --version",
            "AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_MAX_ATTEMPTS=1 exec aws --endpoint-url \"$URL\" --region x s3 ls",
        ),
        Client::ignores(
            "s3cmd",
            "s3cmd --version",
            "exec s3cmd --access_key=x --secret_key=x --host=\"$PLACE\" --host-bucket=\"$PLACE\" ls",
        )
        .unless_captured(),
        yt_dlp(),
        mercurial(),
    ]
}

/// libcurl by itself, which reads variables of proxies and none of certificates.
fn pycurl() -> Client {
    let code = |option: &str| {
        format!("import pycurl\ncurl = pycurl.Curl()\ncurl.setopt(pycurl.URL, url)\n{option}curl.perform()")
    };
    let option = "curl.setopt(pycurl.CAINFO, os.environ[\"SSL_CERT_FILE\"])\n";
    ignores("pycurl", &code(""))
        .but_for("CURLOPT_CAINFO", &script(&code(option)))
        .unless_rooted()
}

/// What tells whether urllib3 has roots of its own by a path.
const HAS_ROOTS: &str = "\"$PYTHON\" -c 'import urllib3, inspect; \
     pool = inspect.signature(urllib3.HTTPSConnectionPool); exit(not pool.parameters[\"ca_certs\"].default)'";

/// A request by urllib3, by the manager of pools that is made so.
fn by_urllib3(manager: &str) -> String {
    script(&format!("import urllib3\nurllib3.{manager}.request(\"GET\", url)"))
}

/// urllib3 as it comes.
fn urllib3() -> Client {
    Client::ignores(
        "Python, urllib3",
        &format!("{} && ! {HAS_ROOTS}", version("urllib3")),
        &by_urllib3("PoolManager(retries=False)"),
    )
    .but_for(
        "ProxyManager",
        &by_urllib3("ProxyManager(os.environ[\"https_proxy\"], retries=False)"),
    )
    .unless_captured()
}

/// urllib3 as Debian 12 has it, which names the system's roots.
fn urllib3_of_debian() -> Client {
    Client::ignores(
        "Python, urllib3, Debian's",
        &format!("{} && {HAS_ROOTS}", version("urllib3")),
        &by_urllib3("PoolManager(retries=False)"),
    )
    .but_for(
        "ProxyManager with ca_certs",
        &by_urllib3("ProxyManager(os.environ[\"https_proxy\"], ca_certs=os.environ[\"SSL_CERT_FILE\"], retries=False)"),
    )
    .unless_rooted()
}

/// aiohttp, which looks at its environment when it is told to.
fn aiohttp() -> Client {
    let code = |option: &str| {
        format!(
            "import aiohttp, asyncio\nasync def main():\n  async with aiohttp.ClientSession({option}) as session:\n    \
             await session.get(url)\nasyncio.run(main())"
        )
    };
    ignores("aiohttp", &code(""))
        .but_for("trust_env=True", &script(&code("trust_env=True")))
        .unless_captured()
}

/// yt-dlp, which trusts the roots of certifi where that is there.
fn yt_dlp() -> Client {
    let version = "yt-dlp --version && head -1 \"$(command -v yt-dlp)\" | grep -q '^#!/usr/bin/python3' && \
                   /usr/bin/python3 -c 'import certifi'";
    Client::ignores("yt-dlp, with certifi", version, "exec yt-dlp \"$URL\"")
        .but_for(
            "--compat-options no-certifi",
            "exec yt-dlp --compat-options no-certifi \"$URL\"",
        )
        .unless_rooted()
}

/// Mercurial, whose package names the system's roots in its settings.
fn mercurial() -> Client {
    let version = "grep -q cacerts /etc/mercurial/hgrc.d/cacerts.rc && hg --version";
    Client::ignores("Mercurial, Debian's", version, "exec hg identify \"$URL\"")
        .but_for(
            "--config web.cacerts=FILE",
            "exec hg --config web.cacerts=\"$SSL_CERT_FILE\" identify \"$URL\"",
        )
        .unless_rooted()
}
