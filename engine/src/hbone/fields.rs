//! Header sections: what RFC 9113 §8 allows in a request, in a response and in trailers.
//!
//! A section that breaks a rule is malformed, which ends its stream and not the session (RFC 9113 §8.1.1), so the
//! decoder runs to the end of the block and the first broken rule is kept.

use super::event::{Headers, Request};
use super::stream::BODY_UNKNOWN;

/// A header section while it is decoded.
#[derive(Debug, Default)]
pub(super) struct Fields {
    method: Option<String>,
    scheme: Option<String>,
    authority: Option<String>,
    path: Option<String>,
    status: Option<String>,
    headers: Headers,
    /// What the content-length headers say, if any.
    content_length: Option<u64>,
    /// RFC 9113 §6.5.2: names, values and 32 octets for each field.
    size: usize,
    size_max: usize,
    broken: Option<Broken>,
}

/// Why a header section is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// RFC 9113 §8.1.1; what is said is for tests and debuggers.
    Malformed(&'static str),
    /// RFC 9113 §10.5.1
    TooLarge,
}

/// A request as its section describes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ParsedRequest {
    pub(super) request: Request,
    pub(super) is_connect: bool,
    /// Bytes of DATA that have to follow, or [`BODY_UNKNOWN`].
    pub(super) body: u64,
}

// === impl Fields ===

impl Fields {
    pub(super) fn new(size_max: u32) -> Self {
        Self { size_max: size_max as usize, ..Self::default() }
    }

    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.size += name.len() + value.len() + 32;
        if self.size > self.size_max {
            // Nothing more is kept: a block can name the same large entry thousands of times.
            self.broken = Some(Broken::TooLarge);
        }
        if self.broken.is_some() {
            return;
        }
        let checked = match name {
            [b':', ..] => self.pseudo(name, value),
            _ => self.regular(name, value),
        };
        if let Err(rule) = checked {
            self.broken = Some(Broken::Malformed(rule));
        }
    }

    /// RFC 9113 §8.3.1 for requests, §8.5 for CONNECT.
    pub(super) fn into_request(self) -> Result<ParsedRequest, Broken> {
        self.check(self.status.is_none(), "a request with :status")?;
        let Self { method, scheme, authority, path, mut headers, content_length, .. } = self;
        let method = method.ok_or(Broken::Malformed("a request without :method"))?;
        let is_connect = method == "CONNECT";
        if is_connect {
            let rule = if scheme.is_some() || path.is_some() {
                Some("CONNECT with :scheme or :path")
            } else if authority.is_none() {
                Some("CONNECT without :authority")
            } else if content_length.is_some() {
                // RFC 9110 §9.3.6: CONNECT has no content. Two ends that count it differently can be told apart.
                Some("CONNECT with content-length")
            } else {
                None
            };
            if let Some(rule) = rule {
                return Err(Broken::Malformed(rule));
            }
        } else {
            check_target(&method, scheme.as_deref(), path.as_deref())?;
        }
        let request = Request {
            method,
            authority: authority.unwrap_or_default(),
            baggage: headers.take("baggage"),
            forwarded: headers.take("forwarded"),
            traceparent: headers.take("traceparent"),
            headers,
        };
        Ok(ParsedRequest { request, is_connect, body: content_length.unwrap_or(BODY_UNKNOWN) })
    }

    /// RFC 9113 §8.3.2. A content-length does not bind: a 2xx has to ignore it (RFC 9110 §9.3.6), and the content of
    /// a refusal is of no interest.
    pub(super) fn into_response(self) -> Result<(u16, Headers), Broken> {
        let is_response =
            self.method.is_none() && self.scheme.is_none() && self.authority.is_none() && self.path.is_none();
        self.check(is_response, "a response with a pseudo-header of requests")?;
        let status = self.status.ok_or(Broken::Malformed("a response without :status"))?;
        match status.parse() {
            Ok(101) => Err(Broken::Malformed("101, which RFC 9113 §8.6 took away")),
            Ok(status @ 100..=999) => Ok((status, self.headers)),
            _ => Err(Broken::Malformed("a :status that is not three digits")),
        }
    }

    /// RFC 9113 §8.1: trailers have no pseudo-headers. What they say is not used.
    pub(super) fn into_trailers(self) -> Result<(), Broken> {
        let pseudo = [&self.method, &self.scheme, &self.authority, &self.path, &self.status];
        self.check(pseudo.iter().all(|pseudo| pseudo.is_none()), "trailers with a pseudo-header")
    }

    fn check(&self, holds: bool, rule: &'static str) -> Result<(), Broken> {
        match self.broken {
            Some(broken) => Err(broken),
            None if !holds => Err(Broken::Malformed(rule)),
            None => Ok(()),
        }
    }

    /// RFC 9113 §8.3
    fn pseudo(&mut self, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let place = match name {
            b":method" => &mut self.method,
            b":scheme" => &mut self.scheme,
            b":authority" => &mut self.authority,
            b":path" => &mut self.path,
            b":status" => &mut self.status,
            // Among them :protocol, since we announce no SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 §3).
            _ => return Err("an unknown pseudo-header"),
        };
        if place.is_some() {
            return Err("a pseudo-header twice");
        }
        if self.headers.iter().next().is_some() {
            return Err("a pseudo-header after a header");
        }
        *place = Some(text(check_value(value)?));
        Ok(())
    }

    /// RFC 9113 §8.2
    fn regular(&mut self, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
        if name.is_empty() {
            return Err("a header without a name");
        }
        // RFC 9113 §8.2.1: no control, space, upper-case letter, delete or octet above it, and no colon.
        if name.iter().any(|octet| matches!(octet, 0x00..=0x20 | b'A'..=b'Z' | b':' | 0x7f..)) {
            return Err("a header name with a forbidden octet");
        }
        let value = check_value(value)?;
        match name {
            // RFC 9113 §8.2.2
            b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade" => {
                return Err("a header that concerns an HTTP/1.1 connection");
            }
            b"te" if value != b"trailers" => return Err("a te header other than trailers"),
            b"content-length" => self.content_length = Some(content_length(value, self.content_length)?),
            _ => {}
        }
        self.headers.push(text(name), text(value));
        Ok(())
    }
}

/// RFC 9113 §8.2.1
fn check_value(value: &[u8]) -> Result<&[u8], &'static str> {
    if value.iter().any(|octet| matches!(octet, 0x00 | b'\n' | b'\r')) {
        return Err("a header value with a forbidden octet");
    }
    let is_blank = |octet: Option<&u8>| matches!(octet, Some(b' ' | b'\t'));
    if is_blank(value.first()) || is_blank(value.last()) {
        return Err("a header value with blanks around it");
    }
    Ok(value)
}

/// RFC 9110 §8.6: digits, and the same ones if it is there twice.
fn content_length(value: &[u8], before: Option<u64>) -> Result<u64, &'static str> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err("a content-length that is not a number");
    }
    let number = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
    match (number, before) {
        (Some(number), _) if number == BODY_UNKNOWN => Err("a content-length out of range"),
        (Some(number), Some(before)) if number != before => Err("two content-lengths"),
        (Some(number), _) => Ok(number),
        (None, _) => Err("a content-length out of range"),
    }
}

/// RFC 9113 §8.3.1, for every method but CONNECT.
fn check_target(method: &str, scheme: Option<&str>, path: Option<&str>) -> Result<(), Broken> {
    let (Some(scheme), Some(path)) = (scheme, path) else {
        return Err(Broken::Malformed("a request without :scheme or :path"));
    };
    let is_path = path.starts_with('/') || (path == "*" && method == "OPTIONS");
    if matches!(scheme, "http" | "https") && !is_path {
        return Err(Broken::Malformed("a :path that is not a path"));
    }
    Ok(())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new(1_000);
        list.iter().for_each(|(name, value)| fields.push(name.as_bytes(), value.as_bytes()));
        fields
    }

    const CONNECT: [(&str, &str); 2] = [(":method", "CONNECT"), (":authority", "10.0.0.7:80")];
    const GET: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "shop")];

    #[test]
    fn a_connect_is_parsed() {
        let list = [
            &CONNECT[..],
            &[
                ("baggage", "a=1"),
                ("x-forwarded-network", "net-2"),
                ("baggage", "b=2"),
                ("forwarded", "for=1"),
            ],
        ]
        .concat();
        let parsed = fields(&list).into_request().unwrap();
        assert!(parsed.is_connect);
        assert_eq!(parsed.body, BODY_UNKNOWN);
        assert_eq!(parsed.request.authority, "10.0.0.7:80");
        assert_eq!(parsed.request.baggage.as_deref(), Some("a=1,b=2"));
        assert_eq!(parsed.request.forwarded.as_deref(), Some("for=1"));
        assert_eq!(parsed.request.traceparent, None);
        assert_eq!(parsed.request.headers.iter().collect::<Vec<_>>(), [("x-forwarded-network", "net-2")]);
    }

    #[test]
    fn another_method_is_parsed_for_the_caller_to_refuse() {
        let parsed = fields(&[&GET[..], &[("content-length", "3"), ("te", "trailers")]].concat());
        let parsed = parsed.into_request().unwrap();
        assert!(!parsed.is_connect);
        assert_eq!((parsed.request.method.as_str(), parsed.body), ("GET", 3));
        assert!(
            fields(&[(":method", "OPTIONS"), (":scheme", "http"), (":path", "*")]).into_request().is_ok()
        );
        assert!(fields(&[(":method", "GET"), (":scheme", "x"), (":path", "any")]).into_request().is_ok());
    }

    #[test]
    fn malformed_requests() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("rfc9113 8.5: CONNECT with :scheme or :path", &[CONNECT[0], CONNECT[1], (":path", "/")]),
            ("rfc9113 8.5: CONNECT with :scheme or :path", &[CONNECT[0], CONNECT[1], (":scheme", "https")]),
            ("rfc9113 8.5: CONNECT without :authority", &[CONNECT[0]]),
            (
                "rfc9110 9.3.6: CONNECT with content-length",
                &[CONNECT[0], CONNECT[1], ("content-length", "0")],
            ),
            ("rfc8441 3: an unknown pseudo-header", &[CONNECT[0], CONNECT[1], (":protocol", "websocket")]),
            ("rfc9113 8.3: an unknown pseudo-header", &[(":method", "GET"), (":unknown", "x")]),
            ("rfc9113 8.3: an unknown pseudo-header", &[(":", "x")]),
            ("rfc9113 8.3: a request with :status", &[CONNECT[0], CONNECT[1], (":status", "200")]),
            ("rfc9113 8.3: a pseudo-header twice", &[CONNECT[0], CONNECT[0]]),
            ("rfc9113 8.3: a pseudo-header after a header", &[CONNECT[0], ("a", "b"), CONNECT[1]]),
            ("rfc9113 8.3.1: a request without :method", &[CONNECT[1]]),
            ("rfc9113 8.3.1: a request without :scheme or :path", &[GET[0], GET[1], GET[3]]),
            ("rfc9113 8.3.1: a request without :scheme or :path", &[GET[0], GET[2], GET[3]]),
            ("rfc9113 8.3.1: a :path that is not a path", &[GET[0], GET[1], (":path", "")]),
            ("rfc9113 8.3.1: a :path that is not a path", &[GET[0], GET[1], (":path", "*")]),
            ("rfc9113 8.2.1: a header without a name", &[CONNECT[0], CONNECT[1], ("", "b")]),
            (
                "rfc9113 8.2.1: a header name with a forbidden octet",
                &[CONNECT[0], CONNECT[1], ("Accept", "b")],
            ),
            ("rfc9113 8.2.1: a header name with a forbidden octet", &[CONNECT[0], CONNECT[1], ("a b", "b")]),
            ("rfc9113 8.2.1: a header name with a forbidden octet", &[CONNECT[0], CONNECT[1], ("a:b", "b")]),
            ("rfc9113 8.2.1: a header name with a forbidden octet", &[CONNECT[0], CONNECT[1], ("ä", "b")]),
            (
                "rfc9113 8.2.1: a header value with a forbidden octet",
                &[CONNECT[0], CONNECT[1], ("a", "b\r\nc")],
            ),
            ("rfc9113 8.2.1: a header value with a forbidden octet", &[CONNECT[0], CONNECT[1], ("a", "b\0")]),
            ("rfc9113 8.2.1: a header value with blanks around it", &[CONNECT[0], (":authority", " a:1")]),
            ("rfc9113 8.2.1: a header value with blanks around it", &[CONNECT[0], CONNECT[1], ("a", "b\t")]),
            (
                "rfc9113 8.2.2: a header that concerns an HTTP/1.1 connection",
                &[CONNECT[0], CONNECT[1], ("connection", "close")],
            ),
            (
                "rfc9113 8.2.2: a header that concerns an HTTP/1.1 connection",
                &[CONNECT[0], ("transfer-encoding", "chunked")],
            ),
            (
                "rfc9113 8.2.2: a te header other than trailers",
                &[CONNECT[0], CONNECT[1], ("te", "trailers, deflate")],
            ),
            ("rfc9110 8.6: a content-length that is not a number", &[GET[0], ("content-length", "+1")]),
            ("rfc9110 8.6: a content-length that is not a number", &[GET[0], ("content-length", "")]),
            (
                "rfc9110 8.6: a content-length out of range",
                &[GET[0], ("content-length", "18446744073709551616")],
            ),
            ("rfc9110 8.6: two content-lengths", &[GET[0], ("content-length", "1"), ("content-length", "2")]),
        ];
        for (rule, list) in cases {
            let expected = rule.split_once(": ").unwrap().1;
            assert_eq!(fields(list).into_request(), Err(Broken::Malformed(expected)), "{rule}: {list:?}");
        }
    }

    #[test]
    fn responses() {
        let (status, headers) = fields(&[(":status", "200"), ("baggage", "a=1")]).into_response().unwrap();
        assert_eq!((status, headers.first("baggage")), (200, Some("a=1")));
        assert!(fields(&[(":status", "200"), ("content-length", "7")]).into_response().is_ok());
        for (rule, list) in [
            ("a response without :status", &[("a", "b")][..]),
            ("a response with a pseudo-header of requests", &[(":status", "200"), (":path", "/")]),
            ("101, which RFC 9113 §8.6 took away", &[(":status", "101")]),
            ("a :status that is not three digits", &[(":status", "20")]),
            ("a :status that is not three digits", &[(":status", "2000")]),
            ("a :status that is not three digits", &[(":status", "ok")]),
            ("a pseudo-header after a header", &[("a", "b"), (":status", "200")]),
        ] {
            assert_eq!(fields(list).into_response(), Err(Broken::Malformed(rule)));
        }
    }

    #[test]
    fn rfc9113_8_1_trailers_have_no_pseudo_headers() {
        assert_eq!(fields(&[("grpc-status", "0")]).into_trailers(), Ok(()));
        assert_eq!(
            fields(&[(":status", "200")]).into_trailers(),
            Err(Broken::Malformed("trailers with a pseudo-header"))
        );
    }

    #[test]
    fn rfc9113_10_5_1_too_large_wins_over_malformed_and_keeps_nothing() {
        let mut fields = Fields::new(100);
        fields.push(b"Malformed", b"");
        for _ in 0..10 {
            fields.push(b"name", &[b'x'; 50]);
        }
        assert!(fields.headers.iter().next().is_none());
        assert_eq!(fields.into_request(), Err(Broken::TooLarge));
    }
}
