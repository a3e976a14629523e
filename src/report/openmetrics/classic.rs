//! `OpenMetrics` as the text format 0.0.4, which has other names for families and knows neither units nor an end.

/// The same figures. Families of counters and of information are called by the names of their samples there.
pub(super) fn converted(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut put = |parts: &[&str]| {
        text.extend(parts.iter().copied());
        text.push('\n');
    };
    // It stands before the type, which decides what the family is called.
    let mut help = None;
    for line in openmetrics.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            put(&[line]);
            continue;
        };
        if let Some(about) = comment.strip_prefix("HELP ") {
            help = about.split_once(' ').map(|(_, words)| words);
        } else if let Some((name, kind)) = comment.strip_prefix("TYPE ").and_then(|about| about.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            if let Some(help) = help.take() {
                put(&["# HELP ", name, suffix, " ", help]);
            }
            put(&["# TYPE ", name, suffix, " ", kind]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_called_by_the_names_of_their_samples() {
        let openmetrics = "# HELP amb_build The version.\n# TYPE amb_build info\namb_build_info{version=\"1 # 2\"} 1\n\
                           # HELP a_bytes Bytes.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\na_bytes_total 5\n\
                           # HELP d_seconds How long.\n# TYPE d_seconds histogram\n# UNIT d_seconds seconds\n\
                           d_seconds_sum 0.5\n# EOF\n";
        let text = "# HELP amb_build_info The version.\n# TYPE amb_build_info gauge\namb_build_info{version=\"1 # 2\"} 1\n\
                    # HELP a_bytes_total Bytes.\n# TYPE a_bytes_total counter\na_bytes_total 5\n\
                    # HELP d_seconds How long.\n# TYPE d_seconds histogram\nd_seconds_sum 0.5\n";
        assert_eq!(converted(openmetrics), text);
    }
}
