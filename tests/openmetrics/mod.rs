//! The part of OpenMetrics' grammar (<https://prometheus.io/docs/specs/om/open_metrics_spec/>, section 4) that has gauges
//! and info, with its rules on order, units and repetition.
#![allow(unreachable_pub, reason = "a module of test binaries")]

use std::collections::BTreeSet;

/// How many series a text exposes, or the first line that breaks a rule.
pub fn check(text: &str) -> Result<usize, String> {
    let body = text.strip_suffix("# EOF\n").ok_or("does not end in # EOF and a line feed")?;
    let (mut families, mut series) = (BTreeSet::new(), BTreeSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    for line in body.split_terminator('\n') {
        let at = |what: &str| format!("{what}: {line}");
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (keyword, name, rest) = (words.next(), words.next(), words.next());
            match (keyword, name, rest) {
                (Some("TYPE"), Some(name), Some(of @ ("gauge" | "info"))) => {
                    if !is_name(name) || !families.insert(name.to_owned()) {
                        return Err(at("a family's name is wrong or occurs twice"));
                    }
                    (family, kind) = (name.to_owned(), of.to_owned());
                }
                (Some("UNIT"), Some(name), Some(unit)) if name == family && name.ends_with(&format!("_{unit}")) => {}
                (Some("HELP"), Some(name), Some(help)) if name == family && !help.is_empty() => {}
                _ => return Err(at("not a comment of the family at hand")),
            }
            continue;
        }
        let (name, rest) = line.split_once('{').ok_or_else(|| at("no labels"))?;
        let own = if kind == "info" { format!("{family}_info") } else { family.clone() };
        if name != own {
            return Err(at("a sample outside its family"));
        }
        let rest = labels(rest).ok_or_else(|| at("labels"))?;
        let value = rest.strip_prefix(' ').ok_or_else(|| at("no value"))?;
        if value.contains(' ') || !value.parse::<f64>().is_ok_and(f64::is_finite) {
            return Err(at("the value is no number"));
        }
        if !series.insert(line[..line.len() - value.len()].to_owned()) {
            return Err(at("a series occurs twice"));
        }
    }
    Ok(series.len())
}

/// What follows the closing brace, if the labels before it are well formed and each occurs once.
fn labels(mut rest: &str) -> Option<&str> {
    let mut names = BTreeSet::new();
    loop {
        let (name, after) = rest.split_once("=\"")?;
        if !is_name(name) || name.contains(':') || !names.insert(name) {
            return None;
        }
        let end = value_end(after)?;
        match after.get(end + 1..)?.split_at_checked(1)? {
            (",", after) => rest = after,
            ("}", after) => return Some(after),
            _ => return None,
        }
    }
}

/// Where the closing quote is; only `\\`, `\"` and `\n` may be escaped.
fn value_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (escaped, c) {
            (true, '\\' | '"' | 'n') => escaped = false,
            (true, _) => return None,
            (false, '\\') => escaped = true,
            (false, '"') => return Some(at),
            (false, _) => {}
        }
    }
    None
}

fn is_name(name: &str) -> bool {
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':');
    begins && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}
