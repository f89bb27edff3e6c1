//! What an answer is encoded in: as it is, or gzip for a client that accepts it.

use std::io::{self, Write};

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_ENCODING;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Whether the client takes gzip: it is named, and not with a weight of 0 (RFC 9110, 12.5.3).
pub(crate) fn wants_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut codings = accepted.flat_map(|value| value.split(','));
    codings.any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        gzip && !parts.any(is_nothing)
    })
}

/// Whether the parameter of a coding is a weight of 0.
fn is_nothing(parameter: &str) -> bool {
    let weight = parameter.strip_prefix(['q', 'Q']).and_then(|rest| rest.trim_start().strip_prefix('='));
    weight.and_then(|weight| weight.trim().parse::<f32>().ok()) == Some(0.0)
}

/// Fast rather than small: text of metrics shrinks to a tenth anyhow, and the node has other work.
pub(crate) fn gzip(text: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn gzip_is_for_those_who_name_it() {
        for (accepted, wanted) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5, br", true),
            ("gzip;q=1.0", true),
            ("gzip; q=0", false),
            ("gzip;q=0.000", false),
            ("br, deflate", false),
            ("xgzip", false),
            ("identity", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(accepted))]);
            assert_eq!(wants_gzip(&headers), wanted, "{accepted}");
        }
        assert!(!wants_gzip(&HeaderMap::new()));
    }
}
