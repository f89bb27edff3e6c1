//! `POST /logging`: the log filter of the running proxy.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::{Method, StatusCode};
use serde::Deserialize;
use tracing::info;

use crate::logging::{LiveFilter, live};

const USAGE: &str = "
usage: POST /logging                                  (the filter in force)
usage: POST /logging?level=LEVEL                      (for everything that is not named)
usage: POST /logging?level=TARGET=LEVEL,TARGET=LEVEL  (for these parts; TARGET:LEVEL is the same)
usage: POST /logging?reset[&level=..]                 (back to what it was at the start, then as above)

LEVEL is one of off, error, warn, info, debug, trace; TARGET is a part of the program, such as access or control::pods
";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    level: Option<String>,
    reset: Option<String>,
}

pub(super) async fn change(
    method: Method,
    wish: Result<Query<Wish>, QueryRejection>,
) -> (StatusCode, String) {
    let wish = match wish {
        Ok(Query(wish)) => wish,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{}\n{USAGE}", error.body_text())),
    };
    match live() {
        Some(filter) => answer(&method, &wish, filter),
        None => (StatusCode::SERVICE_UNAVAILABLE, "this process does not log\n".to_owned()),
    }
}

fn answer(method: &Method, wish: &Wish, filter: &LiveFilter) -> (StatusCode, String) {
    if method != Method::POST {
        return (StatusCode::METHOD_NOT_ALLOWED, format!("Invalid HTTP method\n{USAGE}"));
    }
    if wish.level.is_some() || wish.reset.is_some() {
        let level = wish.level.as_deref().unwrap_or_default();
        if let Err(error) = filter.change(wish.reset.is_some(), level) {
            return (StatusCode::BAD_REQUEST, format!("Failed to set new level: {error}\n{USAGE}"));
        }
        info!(filter = filter.current(), "the log filter was changed on the admin port");
    }
    (StatusCode::OK, format!("current log level is {}\n", filter.current()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::logging::testing::live_filter;

    #[test]
    fn methods_and_wishes_as_a_table() {
        let (_layer, filter) = live_filter("info");
        for (method, query, status, text) in [
            (Method::POST, "", 200, "current log level is info\n"),
            (Method::POST, "level=debug", 200, "current log level is debug\n"),
            (Method::POST, "level=access:off", 200, "current log level is debug,access=off\n"),
            (Method::POST, "level=access=loud", 400, "Failed to set new level: "),
            (Method::POST, "", 200, "current log level is debug,access=off\n"),
            (Method::POST, "reset=true&level=warn", 200, "current log level is warn\n"),
            (Method::POST, "reset", 200, "current log level is info\n"),
            (Method::GET, "", 405, "Invalid HTTP method\n"),
            (Method::GET, "level=trace", 405, "Invalid HTTP method\n"),
            (Method::PUT, "reset", 405, "Invalid HTTP method\n"),
        ] {
            let uri = format!("/logging?{query}").parse().unwrap();
            let Query(wish) = Query::try_from_uri(&uri).unwrap();
            let (answered, body) = answer(&method, &wish, &filter);
            assert_eq!(answered.as_u16(), status, "{method} {query}: {body}");
            assert!(body.starts_with(text), "{method} {query}: {body}");
            assert_eq!(body.contains("usage:"), status != 200, "{method} {query}: {body}");
        }
        assert_eq!(filter.current(), "info");
    }
}
