//! The token that proves to a control plane who we are.

use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Where charts mount the token that control planes ask for.
const TOKEN_PATH: &str = "./var/run/secrets/tokens/istio-token";

/// What is sent as `authorization: Bearer` (`AUTH_TOKEN`).
#[derive(Clone, PartialEq, Eq)]
pub enum Token {
    /// Read anew for each call: it is replaced every few minutes.
    File(PathBuf),
    /// The token itself. It is written down nowhere.
    Literal(Zeroizing<String>),
}

// === impl Token ===

impl Token {
    /// A path, or the token itself (contract: `AUTH_TOKEN`). What is neither there nor looks like a path is no path.
    pub(super) fn named(text: String) -> Self {
        let is_path = ["/", "./", "../"].iter().any(|beginning| text.starts_with(beginning));
        if is_path || Path::new(&text).exists() {
            return Self::File(text.into());
        }
        Self::Literal(Zeroizing::new(text))
    }

    /// The one that is mounted, if it is.
    pub(super) fn mounted() -> Option<Self> {
        Some(PathBuf::from(TOKEN_PATH)).filter(|path| path.exists()).map(Self::File)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Literal(_) => f.write_str("Literal(..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_or_the_token_itself() {
        for path in ["/run/token", "./run/token", "../token", "src"] {
            assert_eq!(Token::named(path.to_owned()), Token::File(path.into()));
        }
        for token in ["eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", "se.cr/et"] {
            let read = Token::named(token.to_owned());
            assert_eq!(read, Token::Literal(Zeroizing::new(token.to_owned())));
            assert_eq!(format!("{read:?}"), "Literal(..)");
        }
    }
}
