//! The clients that need no runtime of their own, and those of the smaller ones.

use super::{Client, Proof};

/// How Perl's LWP with HTTPS tells its version.
const LWP: &str = "perl -MLWP::UserAgent -MLWP::Protocol::https -e 'print \"LWP $LWP::UserAgent::VERSION on $^V\"'";

/// How curl inside PHP does.
const PHP_CURL: &str = "php -r 'exit(function_exists(\"curl_init\") ? 0 : 1);' && php --version";

/// All of them.
pub(super) fn clients() -> Vec<Client> {
    [downloaders(), scripts(), tools()].into_iter().flatten().collect()
}

/// What fetches files and pages.
fn downloaders() -> Vec<Client> {
    vec![
        Client::works("curl", "curl --version", "exec curl -sS \"$URL\""),
        Client::works("wget", "wget --version", "exec wget -qO- --tries=1 \"$URL\""),
        Client::ignores(
            "wget2, before 2",
            "wget2 --version | grep ' 1[.]'",
            "exec wget2 -qO- --tries=1 \"$URL\"",
        )
        .but_that("it speaks TLS to every proxy"),
        Client::ignores(
            "aria2",
            "aria2c --version",
            "exec aria2c --max-tries=1 -q -o x \"$URL\"",
        )
        .but_for(
            "--ca-certificate=FILE",
            "exec aria2c --max-tries=1 -q -o x --ca-certificate=\"$SSL_CERT_FILE\" \"$URL\"",
        )
        .unless_rooted(),
        Client::works("axel", "axel --version", "exec axel -q -o x \"$URL\""),
        Client::ignores(
            "lftp",
            "lftp --version",
            "exec lftp -c 'set net:max-retries 1; cat '\"$URL\"",
        )
        .but_for(
            "set ssl:ca-file FILE",
            "exec lftp -c \"set net:max-retries 1; set ssl:ca-file $SSL_CERT_FILE; cat $URL\"",
        )
        .unless_rooted()
        .seen_by(Proof::Success),
        Client::works("w3m", "w3m -version", "exec w3m -dump \"$URL\""),
        Client::works("lynx", "lynx -version", "exec lynx -dump \"$URL\""),
        Client::works(
            "elinks, before 0.14",
            "elinks -version | grep ' 0[.]1[0-3]'",
            "exec elinks -dump \"$URL\"",
        )
        .seen_by(Proof::Nothing),
        Client::ignores("links", "links -version", "exec links -dump \"$URL\"")
            .but_for(
                "-https-proxy HOST:PORT",
                "exec links -https-proxy \"${https_proxy#http://}\" -dump \"$URL\"",
            )
            .unless_captured(),
        Client::ignores(
            "OpenSSL s_client",
            "openssl version",
            "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -verify_return_error -connect \"$PLACE\"",
        )
        .but_for(
            "-proxy HOST:PORT",
            "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -verify_return_error -proxy \
             \"${https_proxy#http://}\" -connect \"$PLACE\"",
        )
        .unless_captured(),
    ]
}

/// What programs in other languages ask by.
fn scripts() -> Vec<Client> {
    vec![
        // Compiled before it is tried, for which nobody sets it a limit.
        Client::works(
            "Go",
            "go version && { printf 'package main\\nimport (\"net/http\"; \"os\")\\nfunc main() { http.Get(os.Args[1]) }\\n' > \
             fetch.go && GOCACHE=$KEPT CGO_ENABLED=0 GO111MODULE=off GOFLAGS= go build -o \"$KEPT/fetch\" fetch.go >&2; true; }",
            "exec \"$KEPT/fetch\" \"$URL\"",
        ),
        Client::works(
            "Go, its own modules",
            "go version",
            "echo module x > go.mod; GOPROXY=$URL GONOSUMDB='*' GOFLAGS=-mod=mod GOTOOLCHAIN=local GOPATH=$PWD/go \
             GOCACHE=$KEPT exec go list -m example.com/x@latest",
        ),
        ruby("net/http", "Net::HTTP.get(URI(ENV[\"URL\"]))"),
        ruby("open-uri", "URI.open(ENV[\"URL\"]).read"),
        ruby("httpclient", "HTTPClient.get(ENV[\"URL\"])"),
        ruby("excon", "Excon.get(ENV[\"URL\"])"),
        ruby("faraday", "Faraday.get(ENV[\"URL\"])"),
        Client::works(
            "PHP, curl",
            PHP_CURL,
            "exec php -r 'curl_exec(curl_init(getenv(\"URL\")));'",
        ),
        Client::ignores(
            "PHP, streams",
            "php --version",
            "echo '<?php file_get_contents(getenv(\"URL\"));' > fetch.php; exec php fetch.php",
        )
        .but_for(
            "a stream context with `proxy`",
            "exec php -r '$proxy = str_replace(\"http:\", \"tcp:\", getenv(\"https_proxy\")); \
             file_get_contents(getenv(\"URL\"), false, stream_context_create([\"http\" => [\"proxy\" => $proxy]]));'",
        )
        .unless_captured(),
        Client::works(
            "Perl, LWP",
            LWP,
            "exec perl -e 'use LWP::UserAgent; LWP::UserAgent->new->get($ENV{URL})'",
        ),
        Client::works(
            "Perl, HTTP::Tiny",
            "perl -MIO::Socket::SSL -e 'print $^V'",
            "exec perl -e 'use HTTP::Tiny; HTTP::Tiny->new(verify_SSL => 1)->get($ENV{URL})'",
        ),
        Client::works(
            "Perl, Mojolicious",
            "perl -MMojolicious -MMojo::UserAgent -MIO::Socket::SSL -e 'print \"Mojolicious $Mojolicious::VERSION on $^V\"'",
            "exec perl -MMojo::UserAgent -e 'Mojo::UserAgent->new->get($ENV{URL})->result'",
        ),
        Client::ignores(
            "Perl, WWW::Curl",
            "perl -MWWW::Curl -e 'print \"WWW::Curl $WWW::Curl::VERSION on $^V\"'",
            "exec perl -MWWW::Curl::Easy -e 'my $curl = WWW::Curl::Easy->new; \
             $curl->setopt(WWW::Curl::Easy::CURLOPT_URL(), $ENV{URL}); $curl->perform'",
        )
        .but_for(
            "CURLOPT_CAINFO",
            "exec perl -MWWW::Curl::Easy -e 'my $curl = WWW::Curl::Easy->new; \
             $curl->setopt(WWW::Curl::Easy::CURLOPT_CAINFO(), $ENV{SSL_CERT_FILE}); \
             $curl->setopt(WWW::Curl::Easy::CURLOPT_URL(), $ENV{URL}); $curl->perform'",
        )
        .unless_rooted(),
        Client::works(
            "Guile",
            "guile -c '(use-modules (gnutls))' && guile --version",
            "exec guile -c '(use-modules (web client)) (http-get (getenv \"URL\"))'",
        ),
        Client::works(
            "R, download.file",
            "Rscript --version",
            "exec Rscript -e 'download.file(Sys.getenv(\"URL\"), \"x\", quiet = TRUE)'",
        ),
        Client::works(
            "R, url",
            "Rscript --version",
            "exec Rscript -e 'readLines(url(Sys.getenv(\"URL\")))'",
        ),
        Client::ignores(
            "Erlang, httpc",
            "erl -noshell -eval 'ok = ssl:start(), ok = inets:start(), io:format(erlang:system_info(otp_release)), halt().'",
            "exec erl -noshell -eval 'ssl:start(), inets:start(), httpc:request(get, {os:getenv(\"URL\"), []}, [{ssl, \
             [{verify, verify_peer}, {cacerts, public_key:cacerts_get()}]}], []), halt().'",
        )
        .unless_rooted(),
        Client::ignores(
            "Lua, LuaSec",
            "lua5.1 -e 'print(require(\"ssl.https\")._VERSION)'",
            "exec lua5.1 -e 'require(\"ssl.https\").request(os.getenv(\"URL\"))'",
        )
        .seen_by(Proof::Nothing)
        .unless_captured(),
        emacs(),
    ]
}

/// A client in Ruby.
fn ruby(library: &str, code: &str) -> Client {
    Client::works(
        &format!("Ruby, {library}"),
        &format!("ruby -e 'require \"{library}\"; puts \"Ruby #{{RUBY_VERSION}}\"'"),
        &format!("exec ruby -e 'require \"{library}\"; {code}'"),
    )
}

/// Emacs, which knows its roots from a setting alone.
fn emacs() -> Client {
    let ask = "(url-retrieve-synchronously (getenv \"URL\") t nil 5)";
    let roots = "(setq gnutls-trustfiles (list (getenv \"SSL_CERT_FILE\")))";
    let script =
        |before: &str| format!("exec emacs -Q --batch --eval '(progn {before} (setq gnutls-verify-error t) {ask})'");
    Client::ignores("Emacs, url", "emacs --version", &script("(require (quote url))"))
        .but_for("gnutls-trustfiles", &script(&format!("(require (quote url)) {roots}")))
        .unless_rooted()
}

/// What fetches sources, packages and objects.
fn tools() -> Vec<Client> {
    vec![
        Client::works("git", "git --version", "exec git ls-remote \"${URL}repository\""),
        Client::ignores(
            "Subversion",
            "svn --version --quiet",
            "exec svn --non-interactive info \"$URL\"",
        )
        .but_for(
            "servers:global:http-proxy-host and ssl-authority-files",
            "exec svn --non-interactive --config-option servers:global:http-proxy-host=127.0.0.1 --config-option \
             servers:global:http-proxy-port=\"${https_proxy##*:}\" --config-option \
             servers:global:ssl-authority-files=\"$AMB_CA_FILE\" info \"$URL\"",
        )
        .unless_captured(),
        Client::works(
            "cargo",
            "\"$CARGO\" --version",
            "CARGO_HOME=$PWD/cargo CARGO_NET_RETRY=0 exec \"$CARGO\" search x --index \"sparse+$URL\"",
        ),
        Client::works(
            "RubyGems",
            "gem --version",
            "exec gem list --remote --clear-sources --source \"$URL\" x",
        ),
        Client::works(
            "Bundler",
            "bundle --version",
            "printf 'source \"%s\"\\ngem \"x\"\\n' \"$URL\" > Gemfile; exec bundle lock",
        ),
        Client::works(
            "Composer",
            "composer --version",
            "printf '{\"repositories\":[{\"type\":\"composer\",\"url\":\"%s\"},{\"packagist.org\":false}],\"require\":\
             {\"x/x\":\"*\"}}' \"$URL\" > composer.json; exec composer update --no-interaction --dry-run",
        ),
        Client::works(
            "apt",
            "apt-get --version",
            "mkdir -p state/lists/partial cache/archives/partial parts && : > status && echo \"deb [trusted=yes] $URL ./\" \
             > sources && exec apt-get update -o Dir::Etc::SourceList=$PWD/sources -o Dir::Etc::SourceParts=$PWD/parts \
             -o Dir::State=$PWD/state -o Dir::State::status=$PWD/status -o Dir::Cache=$PWD/cache -o Acquire::Retries=0",
        ),
        Client::works(
            "GitHub CLI",
            "gh --version",
            "GH_TOKEN=x GH_ENTERPRISE_TOKEN=x GH_HOST=$PLACE exec gh api /x",
        ),
        Client::works(
            "rclone",
            "rclone version",
            "exec rclone --retries 1 --low-level-retries 1 lsf :http: --http-url \"$URL\"",
        ),
        Client::works(
            "restic",
            "restic version",
            "RESTIC_PASSWORD=x exec timeout 4 restic -r \"rest:$URL\" snapshots --no-cache",
        ),
        Client::works(
            "skopeo",
            "skopeo --version",
            "exec skopeo inspect \"docker://$PLACE/x\"",
        ),
    ]
}
