//! The processes of a run: all that descend from amb's, and those that its environment gives away; and which sockets they hold.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    env,
    ffi::OsStr,
    fs,
    net::SocketAddr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// The variable that tells one run from every other.
const RUN_ID: &str = "AMB_RUN_ID";
/// The variable that names the run's proxy.
const PROXY: &str = "AMB_PROXY_URL";
/// What a program may be told of proxies by.
const PROXY_VARIABLES: [&str; 6] = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
];

/// A process that held a socket, as it was then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    /// Its id.
    pub(super) pid: u32,
    /// What it was started with.
    pub(super) words: Vec<String>,
    /// Its executable; none if that may not be known.
    pub(super) executable: Option<PathBuf>,
    /// Its variables; none if they may not be read.
    pub(super) variables: Option<BTreeMap<String, String>>,
}

impl Process {
    /// Looks a process up; what it hides is left out.
    pub(super) fn of(pid: u32) -> Self {
        let place = PathBuf::from(format!("/proc/{pid}"));
        let words = fs::read(place.join("cmdline")).unwrap_or_default();
        let words = words.strip_suffix(b"\0").unwrap_or(&words);
        let executable = fs::read_link(place.join("exe")).ok();
        Self {
            pid,
            words: words
                .split(|byte| *byte == 0)
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect(),
            executable,
            variables: fs::read(place.join("environ")).ok().map(|bytes| variables(&bytes)),
        }
    }

    /// A variable of its.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        Some(self.variables.as_ref()?.get(name)?.as_str())
    }

    /// Whether it has a variable that names a proxy; none if that cannot be known.
    pub(super) fn is_told_of_a_proxy(&self) -> Option<bool> {
        let variables = self.variables.as_ref()?;
        Some(
            PROXY_VARIABLES
                .iter()
                .any(|name| variables.get(*name).is_some_and(|value| !value.is_empty())),
        )
    }

    /// The proxy that amb has told it of.
    pub(super) fn proxy(&self) -> Option<SocketAddr> {
        let url = self.variable(PROXY)?;
        let place = url.split_once("://").map_or(url, |(_, place)| place);
        let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
        place.trim_end_matches('/').parse().ok()
    }
}

/// The variables of an environment.
fn variables(environment: &[u8]) -> BTreeMap<String, String> {
    environment
        .split(|byte| *byte == 0)
        .filter_map(|entry| {
            let equals = entry.iter().position(|byte| *byte == b'=')?;
            let text = |bytes: &[u8]| OsStr::from_bytes(bytes).to_string_lossy().into_owned();
            Some((text(&entry[..equals]), text(&entry[equals + 1..])))
        })
        .collect()
}

/// The processes of a run.
#[derive(Debug)]
pub(super) struct Family {
    /// amb's own process, which is none of them.
    amb: u32,
    /// The run's id, once a process has been seen that has it.
    run_id: Option<String>,
}

impl Family {
    /// Those that come from this process of amb's.
    pub(super) fn of(amb: u32) -> Self {
        Self { amb, run_id: None }
    }

    /// The sockets of amb's own process; none if it hides them.
    pub(super) fn sockets_of_amb(&self) -> Vec<u32> {
        sockets(Path::new(&format!("/proc/{}/fd", self.amb)))
    }

    /// Who of them holds which of these sockets.
    pub(super) fn holders(&mut self, wanted: &HashSet<u32>) -> HashMap<u32, u32> {
        let mut found = HashMap::new();
        for pid in self.members() {
            for inode in sockets(Path::new(&format!("/proc/{pid}/fd"))) {
                if wanted.contains(&inode) {
                    // The youngest of those that share it: whoever was started with it uses it.
                    found.insert(inode, pid);
                }
            }
        }
        found
    }

    /// All of them that are there now, in the order of their ids.
    fn members(&mut self) -> BTreeSet<u32> {
        let parents = parents();
        let mut members = descendants(self.amb, &parents);
        if self.run_id.is_none() {
            // A process that has not become its program yet has amb's own environment.
            let outer = env::var(RUN_ID).ok();
            let mut ids = members.iter().filter_map(|pid| run_id(*pid));
            self.run_id = ids.rfind(|id| Some(id) != outer.as_ref());
        }
        if let Some(id) = &self.run_id {
            let strays = parents
                .keys()
                .filter(|pid| **pid != self.amb && !members.contains(pid) && run_id(**pid).as_ref() == Some(id));
            let strays: Vec<u32> = strays.copied().collect();
            members.extend(strays);
        }
        members
    }
}

/// The run that a process belongs to, by its environment.
fn run_id(pid: u32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let start = format!("{RUN_ID}=");
    environment.split(|byte| *byte == 0).find_map(|entry| {
        let id = entry.strip_prefix(start.as_bytes())?;
        Some(String::from_utf8_lossy(id).into_owned())
    })
}

/// Each process with its parent.
fn parents() -> BTreeMap<u32, u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            Some((pid, parent(&stat)?))
        })
        .collect()
}

/// The parent in a process's `stat`: the second field behind its name, which may hold anything.
fn parent(stat: &str) -> Option<u32> {
    stat[stat.rfind(')')? + 1..]
        .split_ascii_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

/// All that come from a process, it left out.
fn descendants(root: u32, parents: &BTreeMap<u32, u32>) -> BTreeSet<u32> {
    let mut found = BTreeSet::from([root]);
    loop {
        let before = found.len();
        let more = parents.iter().filter(|(_, parent)| found.contains(parent));
        let more: Vec<u32> = more.map(|(pid, _)| *pid).collect();
        found.extend(more);
        if found.len() == before {
            found.remove(&root);
            return found;
        }
    }
}

/// The sockets among the descriptors in a directory.
fn sockets(descriptors: &Path) -> Vec<u32> {
    let entries = fs::read_dir(descriptors).into_iter().flatten().filter_map(Result::ok);
    entries
        .filter_map(|entry| {
            let link = fs::read_link(entry.path()).ok()?;
            link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsRawFd};

    use super::*;

    #[test]
    fn who_descends_from_whom_is_told_by_the_parents() {
        let parents = BTreeMap::from([(2, 1), (3, 2), (4, 3), (5, 1), (6, 5), (7, 2)]);
        assert_eq!(descendants(2, &parents), BTreeSet::from([3, 4, 7]));
        assert_eq!(descendants(9, &parents), BTreeSet::new());
        for (stat, expected) in [
            ("12 (sh) S 7 12 12 0 -1", Some(7)),
            ("12 (a) b (c) S 8 1", Some(8)),
            ("12 (sh", None),
        ] {
            assert_eq!(parent(stat), expected, "{stat}");
        }
    }

    #[test]
    fn a_process_is_known_by_what_it_was_started_with() {
        let process = Process::of(std::process::id());
        assert!(!process.words.is_empty() && !process.words[0].is_empty());
        assert!(process.variable("PATH").is_some());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
        let inode = sockets(Path::new("/proc/self/fd"));
        let wanted = link.to_str().unwrap();
        assert!(inode.iter().any(|inode| format!("socket:[{inode}]") == wanted));
    }

    #[test]
    fn the_proxy_is_read_from_its_url() {
        for (url, expected) in [
            ("http://127.0.0.1:8080", Some("127.0.0.1:8080")),
            ("http://me:secret@[::1]:80/", Some("[::1]:80")),
            ("nonsense", None),
        ] {
            let process = Process {
                variables: Some(variables(format!("A=b\0AMB_PROXY_URL={url}\0").as_bytes())),
                ..Process::default()
            };
            assert_eq!(process.proxy(), expected.map(|place| place.parse().unwrap()), "{url}");
        }
    }

    #[test]
    fn only_a_filled_variable_tells_of_a_proxy() {
        for (environment, told) in [
            ("A=b\0", false),
            ("http_proxy=\0", false),
            ("HTTPS_PROXY=http://p:1\0", true),
        ] {
            let process = Process {
                variables: Some(variables(environment.as_bytes())),
                ..Process::default()
            };
            assert_eq!(process.is_told_of_a_proxy(), Some(told), "{environment:?}");
        }
        assert_eq!(Process::default().is_told_of_a_proxy(), None);
    }
}
