//! The browser's name and version, and the operating system, from the line that it sends to every site.

/// A browser by its own account.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UserAgent {
    /// Its name.
    pub(super) browser: String,
    /// Its version as it tells it: often the first number alone is true.
    pub(super) version: String,
    /// The operating system as it tells it.
    pub(super) os: String,
}

/// Marks of browsers with their names, the more special ones first: every browser claims to be several others.
const MARKS: [(&str, &str); 7] = [
    ("Edg/", "Microsoft Edge"),
    ("EdgA/", "Microsoft Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("HeadlessChrome/", "Chrome (headless)"),
    ("Chrome/", "Chrome"),
    ("Version/", "Safari"),
];

/// Reads the line; what it does not tell is `unknown`.
pub(super) fn read(line: &str) -> UserAgent {
    let unknown = || "unknown".to_owned();
    let found = MARKS.iter().find_map(|(mark, name)| {
        let version = line.split_once(mark)?.1.split([' ', ';', ')']).next()?;
        Some(((*name).to_owned(), version.to_owned()))
    });
    let (browser, version) = found.unwrap_or_else(|| (unknown(), unknown()));
    let os = line.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(os, _)| os.trim().to_owned());
    UserAgent { browser, version, os: os.filter(|os| !os.is_empty()).unwrap_or_else(unknown) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_known_by_its_most_special_mark() {
        let chrome =
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36";
        let cases = [
            (chrome.to_owned(), ["Chrome", "156.0.0.0", "X11; Linux x86_64"]),
            (format!("{chrome} Edg/156.0.1.2"), ["Microsoft Edge", "156.0.1.2", "X11; Linux x86_64"]),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:153.0) Gecko/20100101 Firefox/153.0".to_owned(),
                ["Firefox", "153.0", "Windows NT 10.0; Win64; x64; rv:153.0"],
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                 Version/19.0 Mobile/15E148 Safari/604.1"
                    .to_owned(),
                ["Safari", "19.0", "iPhone; CPU iPhone OS 19_0 like Mac OS X"],
            ),
        ];
        for (line, [browser, version, os]) in cases {
            let want = UserAgent { browser: browser.to_owned(), version: version.to_owned(), os: os.to_owned() };
            assert_eq!(read(&line), want, "{line}");
        }
    }

    #[test]
    fn a_line_that_tells_nothing_is_of_an_unknown_browser() {
        for line in ["", "(", "()", "curl"] {
            let read = read(line);
            assert_eq!([&*read.browser, &read.version, &read.os], ["unknown"; 3], "{line}");
        }
    }
}
