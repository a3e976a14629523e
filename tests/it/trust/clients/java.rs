//! The clients that run in a JVM: its own in each that is there, those of libraries in one.

use std::{fs, path::PathBuf};

use super::Client;

/// Where distributions put libraries.
const LIBRARIES: &str = "/usr/share/java";

/// What a client is: its name, the libraries that it needs, and its code, in which `url` is the server's.
const CLIENTS: [(&str, &[&str], &str); 5] = [
    ("HttpURLConnection", &[], "new java.net.URL(url).openStream().close();"),
    (
        "java.net.http",
        &[],
        "java.net.http.HttpClient.newHttpClient().send(java.net.http.HttpRequest.newBuilder(java.net.URI.create(url)).build(), \
         java.net.http.HttpResponse.BodyHandlers.discarding());",
    ),
    (
        "Apache HttpClient 4, createSystem",
        &["httpclient", "httpcore", "commons-logging", "commons-codec"],
        "org.apache.http.impl.client.HttpClients.createSystem().execute(new org.apache.http.client.methods.HttpGet(url));",
    ),
    (
        "Apache HttpClient 5, createSystem",
        &["httpclient5", "httpcore5", "httpcore5-h2", "slf4j-api"],
        "org.apache.hc.client5.http.impl.classic.HttpClients.createSystem().execute(new \
         org.apache.hc.client5.http.classic.methods.HttpGet(url));",
    ),
    (
        "OkHttp",
        &["okhttp", "okio"],
        "new okhttp3.OkHttpClient().newCall(new okhttp3.Request.Builder().url(url).build()).execute();",
    ),
];

/// Homes of JDKs.
fn homes() -> Vec<PathBuf> {
    let homes = fs::read_dir("/usr/lib/jvm")
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    // Debian's second names are links.
    let homes = homes.filter(|home| home.file_type().is_ok_and(|kind| kind.is_dir()));
    let homes = homes.map(|home| home.path());
    homes.filter(|home| home.join("bin/javac").exists()).collect()
}

/// A client of a JVM: how its version is told, and its script.
fn texts(home: &str, libraries: &[&str], code: &str) -> (String, String) {
    let files: Vec<String> = libraries
        .iter()
        .map(|library| format!("{LIBRARIES}/{library}.jar"))
        .collect();
    let path = files.join(":");
    let version = format!("ls {} > ls && {home}/bin/java -version", files.join(" "));
    let source = format!(
        "class Fetch {{ public static void main(String[] words) throws Exception {{ String url = words[0]; {code} }} }}"
    );
    let script = format!(
        "cat > Fetch.java <<'END'\n{source}\nEND\n\
         env -u JAVA_TOOL_OPTIONS {home}/bin/javac -J-XX:TieredStopAtLevel=1 -nowarn -cp '{path}' -d . Fetch.java || exit\n\
         exec {home}/bin/java -cp '.:{path}' Fetch \"$URL\""
    );
    (version, script)
}

/// All of them.
pub(super) fn clients() -> Vec<Client> {
    let mut clients = Vec::new();
    let mut homes = homes();
    if homes.is_empty() {
        // It is then skipped, with a word.
        homes.push("/usr/lib/jvm/default-java".into());
    }
    for (index, home) in homes.iter().enumerate() {
        let home = home.to_str().unwrap();
        for (name, libraries, code) in CLIENTS {
            if index > 0 && !libraries.is_empty() {
                continue;
            }
            let name = format!("Java, {name}");
            let (version, script) = texts(home, libraries, code);
            let client = Client::works(&name, &version, &script);
            if !code.contains("createSystem") {
                clients.push(client);
                continue;
            }
            let (_, plain) = texts(home, libraries, &code.replace("createSystem", "createDefault"));
            let default = Client::ignores(&name.replace("createSystem", "createDefault"), &version, &plain);
            clients.push(default.but_for("createSystem()", &script).unless_captured());
            clients.push(client);
        }
    }
    clients.push(Client::works(
        "Maven",
        "mvn --batch-mode --version",
        "printf '<settings><localRepository>%s/r</localRepository><mirrors><mirror><id>x</id><mirrorOf>*</mirrorOf>\
         <url>%s</url></mirror></mirrors></settings>' \"$PWD\" \"$URL\" > s.xml; exec mvn -q -s s.xml help:help",
    ));
    clients
}
