//! Dispatch and combine: the two directions of an exchange with experts.

/// Which way tokens travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Tokens to their experts.
    Dispatch,
    /// Results back.
    Combine,
}

impl Direction {
    /// Sender and receiver of what a dispatch sends from `token` to `expert`: in a combine they change places.
    pub fn ends<T>(self, token: T, expert: T) -> (T, T) {
        match self {
            Self::Dispatch => (token, expert),
            Self::Combine => (expert, token),
        }
    }
}
