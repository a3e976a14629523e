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

/// All of them, and the tools that are written in it.
pub(super) fn clients() -> Vec<Client> {
    vec![
        works("urllib.request", "import urllib.request\nurllib.request.urlopen(url).read()"),
        works("requests", "import requests\nrequests.get(url)"),
        works("httpx", "import httpx\nhttpx.get(url)"),
        works("httplib2", "import httplib2\nhttplib2.Http().request(url)"),
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
        ignores(
            "urllib3",
            "import urllib3\nurllib3.PoolManager(retries=False).request(\"GET\", url)",
        )
        .but_for(
            "ProxyManager",
            &script(
                "import urllib3\nurllib3.ProxyManager(os.environ[\"https_proxy\"], retries=False).request(\"GET\", url)",
            ),
        )
        .unless_captured(),
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
