//! Values of flags: numbers in a range, and enums by name.

/// A number from `least` to `most`.
pub(super) fn number(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    // A NaN is in no range.
    if (least..=most).contains(&value) { Ok(value) } else { Err(format!("give a number from {least} to {most}")) }
}

/// A share from 0 to 1.
pub(super) fn share(text: &str) -> Result<f64, String> {
    number(text, 0.0, 1.0)
}

/// More than nothing.
pub(super) fn positive(text: &str) -> Result<f64, String> {
    number(text, 1e-3, 1e9)
}

/// A count of 1 or more.
pub(super) fn count(text: &str) -> Result<f64, String> {
    number(text, 1.0, 1e9)
}

/// A number of tokens, 1 or more.
pub(super) fn tokens(text: &str) -> Result<f64, String> {
    number(text, 1.0, 1e12)
}

/// A number of tokens, 0 or more.
pub(super) fn tokens_or_none(text: &str) -> Result<f64, String> {
    number(text, 0.0, 1e12)
}

/// A number of bytes, 1 or more.
pub(super) fn bytes(text: &str) -> Result<f64, String> {
    number(text, 1.0, 1e15)
}

/// A percentage from 0 to 50, with its sign, as a share.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    let digits = text.trim().strip_suffix('%').ok_or("give a percentage with its sign, e.g. 3%")?;
    Ok(number(digits.trim(), 0.0, 50.0)? / 100.0)
}

/// An enum of flag values that clap lists, each named like the variant of the enum of the library that it becomes. For enums
/// of parts that know nothing of a command line.
macro_rules! flag_enum {
    ($(#[$doc:meta])* $name:ident => $domain:ty { $($(#[$variant_doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
        pub(in crate::cli) enum $name {
            $($(#[$variant_doc])* $variant),+
        }

        impl From<$name> for $domain {
            fn from(name: $name) -> Self {
                match name {
                    $($name::$variant => Self::$variant),+
                }
            }
        }
    };
}
pub(super) use flag_enum;
