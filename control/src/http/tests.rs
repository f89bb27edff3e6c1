#![allow(clippy::unwrap_used)]

use std::future::pending;

use axum::Extension;
use axum::routing::get;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::{pause, resume, timeout};

use super::stream::body;
use super::testing::{ask, send};
use super::*;

fn router() -> Router {
    Router::new().route("/quick", get(|| async { "quick\n" })).route("/never", get(never))
}

/// From now on time passes as soon as there is nothing else to do. Not before: what is on its way over a socket would come
/// too late.
async fn never() -> String {
    pause();
    pending().await
}

#[tokio::test]
async fn requests_are_answered_over_a_socket() {
    for (method, target, status, body) in [
        ("GET", "/quick", 200, "quick\n"),
        ("GET", "/quick?verbose", 200, "quick\n"),
        ("POST", "/quick", 405, ""),
        ("GET", "/quick/x", 404, ""),
    ] {
        assert_eq!(ask(&router(), method, target).await, (status, body.to_owned()), "{method} {target}");
    }
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let two =
        b"GET /quick HTTP/1.1\r\nhost: x\r\n\r\nGET /quick HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = send(&router(), Reach::Network, two).await;
    assert_eq!(answer.matches("\r\n\r\nquick\n").count(), 2, "{answer}");
}

#[tokio::test]
async fn what_is_no_http_and_a_head_without_end_are_refused() {
    let answer = send(&router(), Reach::Network, b"\x16\x03\x01 binary\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let mut head = b"GET /quick HTTP/1.1\r\nx: ".to_vec();
    head.resize(2 * HTTP_HEAD_BYTES_MAX, b'x');
    let answer = send(&router(), Reach::Network, &head).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed_in_time() {
    for reach in [Reach::Loopback, Reach::Network] {
        let answer = send(&router(), reach, b"GET ").await;
        assert!(!answer.contains("200"), "{answer}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_given_up() {
    let (status, body) = ask(&router(), "GET", "/never").await;
    assert_eq!((status, body.as_str()), (503, "the proxy is too busy to answer\n"));
}

#[tokio::test]
async fn a_handler_that_says_so_may_take_longer() {
    let slow = |Extension(leisure): Extension<Leisure>| async move {
        pause();
        leisure.take();
        sleep(Duration::from_millis(10 * HTTP_ANSWER_MS_MAX)).await;
        "at last\n"
    };
    let router = Router::new().route("/slow", get(slow));
    assert_eq!(ask(&router, "GET", "/slow").await, (200, "at last\n".to_owned()));
}

/// An answer that never fits into the socket's buffers, for whose reader time passes quickly; tells when whoever makes it
/// need not go on.
fn flood(endless: bool, gone: mpsc::Sender<()>) -> Router {
    let answer = move || {
        let gone = gone.clone();
        async move {
            pause();
            let (parts, body) = body();
            tokio::spawn(async move {
                while parts.send(vec![0; 64 * 1024]).await.is_ok() {}
                let _ = gone.send(()).await;
            });
            let body = body.into_response();
            if endless { (Extension(Endless), body).into_response() } else { body }
        }
    };
    Router::new().route("/", get(answer))
}

#[tokio::test]
async fn a_reader_that_stands_holds_nothing_for_ever_unless_it_follows() {
    for (reach, endless, cut) in [
        (Reach::Loopback, false, true),
        (Reach::Loopback, true, false),
        (Reach::Network, false, true),
        (Reach::Network, true, true),
    ] {
        let listener = listener(Endpoint::Admin, "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, mut gone) = mpsc::channel(1);
        let serving =
            tokio::spawn(serve(TcpListener::from_std(listener).unwrap(), reach, flood(endless, tell)));
        let mut reader = TcpStream::connect(address).await.unwrap();
        reader.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let day = Duration::from_secs(86_400);
        assert_eq!(timeout(day, gone.recv()).await.is_ok(), cut, "{reach:?} {endless}");
        drop(reader);
        serving.abort();
        resume();
    }
}

/// Status line and headers of an answer that goes on.
async fn head(address: std::net::SocketAddr, target: &str) -> (String, BufReader<TcpStream>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    let (mut head, mut reader) = (String::new(), BufReader::new(stream));
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).await.unwrap() > 0, "{head}");
    }
    (head, reader)
}

#[tokio::test]
async fn readers_without_end_leave_room_for_who_asks() {
    let follow = || async {
        let (parts, body) = body();
        tokio::spawn(async move { parts.gone().await });
        (Extension(Endless), body).into_response()
    };
    let router = router().route("/follow", get(follow));
    let listener = listener(Endpoint::Admin, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(TcpListener::from_std(listener).unwrap(), Reach::Loopback, router));
    let mut readers = Vec::new();
    for _ in 0..HTTP_ENDLESS_MAX {
        let (head, reader) = head(address, "/follow").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        readers.push(reader);
    }
    for _ in 0..2 * HTTP_CONNECTIONS_MAX {
        let (refused, mut reader) = head(address, "/follow").await;
        assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
        let mut reason = String::new();
        reader.read_line(&mut reason).await.unwrap();
        assert_eq!(reason, "8 readers follow already: end one of them\n");
        assert!(head(address, "/quick").await.0.starts_with("HTTP/1.1 200 "));
    }
    readers.pop();
    while !head(address, "/follow").await.0.starts_with("HTTP/1.1 200 ") {}
}
