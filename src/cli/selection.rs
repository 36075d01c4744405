//! Flags that say which variants of a kernel are timed in full.

use crate::record::Selection;

/// What `measure`, `run` and `fleet` share.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct SelectionArgs {
    /// Take each kernel's default variant, without a trial
    #[arg(long, group = "selection")]
    no_tune: bool,
    /// Only kernels that have this variant, in this variant
    #[arg(long, value_name = "NAME", group = "selection")]
    variant: Option<String>,
    /// Measure every variant in full, not only the fastest
    #[arg(long, group = "selection")]
    all_variants: bool,
}

impl SelectionArgs {
    /// Which variants are timed in full.
    pub(super) fn selection(&self) -> Selection {
        match &self.variant {
            Some(variant) => Selection::Named { variant: variant.clone() },
            None if self.all_variants => Selection::AllVariants,
            None if self.no_tune => Selection::Default,
            None => Selection::Tuned,
        }
    }
}
