//! Asks a running proxy on its admin port, for the commands that a person types.

use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::timeout;

/// How long connecting and the beginning of an answer may take.
const CLIENT_ANSWER_TIMEOUT_SECONDS: u64 = 15;

/// The longest answer that is read whole: the status of a node with thousands of pods is a tenth of it.
const CLIENT_ANSWER_BYTES_MAX: usize = 64 << 20;

#[derive(Debug, Error)]
pub enum ClientError {
    #[error(
        "no proxy answers on {address}: {cause}; run this where it runs (kubectl exec into its pod, or on its node), or \
         name its admin address with --admin or RINGWAY_ADMIN"
    )]
    NoProxy { address: String, cause: String },
    #[error("what listens on {address} does not know {path}: it is no ringway, or an older one")]
    Unknown { address: String, path: String },
    /// What was asked cannot be answered: the proxy says why.
    #[error("{text}")]
    Question { text: String },
    #[error("the proxy on {address} answered {status}: {text}")]
    Refused { address: String, status: u16, text: String },
    #[error("the answer of {address} broke off: {cause}")]
    Broken { address: String, cause: String },
    #[error("the answer of {address} cannot be read ({cause}): use the ringway of the proxy's own version")]
    Unreadable { address: String, cause: String },
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// A proxy, by its admin address (`host:port`).
#[derive(Clone, Debug)]
pub struct Client {
    address: String,
}

impl Client {
    pub fn new(address: &str) -> Self {
        Self { address: address.to_owned() }
    }

    /// The answer to a question, as it came and as it is understood.
    pub fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<(T, String), ClientError> {
        let mut text = String::new();
        let mut add = |line: &str| -> Result<(), ClientError> {
            if text.len() + line.len() > CLIENT_ANSWER_BYTES_MAX {
                return Err(self.broken("it is longer than an answer can be"));
            }
            text += line;
            text += "\n";
            Ok(())
        };
        self.lines(path, query, &mut add)?;
        let understood = serde_json::from_str(&text);
        let understood = understood.map_err(|error| self.unreadable(error.to_string()))?;
        Ok((understood, text))
    }

    /// Each line of an answer as it comes, for as long as it goes on.
    pub fn lines(
        &self,
        path: &str,
        query: &[(&str, &str)],
        each: &mut dyn FnMut(&str) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let limit = Duration::from_secs(CLIENT_ANSWER_TIMEOUT_SECONDS);
            let begun = timeout(limit, self.begin(path, query)).await;
            let answer = begun.unwrap_or_else(|_| Err(self.absent("it does not answer")))?;
            self.read(answer, each).await
        })
    }

    async fn begin(&self, path: &str, query: &[(&str, &str)]) -> Result<Response<Incoming>, ClientError> {
        let stream = TcpStream::connect(&self.address).await.map_err(|cause| self.absent(cause))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|cause| self.absent(cause))?;
        // It ends with the answer, which tells what went wrong.
        tokio::spawn(connection);
        let mut encoded = form_urlencoded::Serializer::new(String::new());
        let target = format!("{path}?{}", encoded.extend_pairs(query).finish());
        let request = Request::get(target).header("host", &self.address).body(Empty::<Bytes>::new());
        let request = request.map_err(|cause| self.absent(cause))?;
        let answer = sender.send_request(request).await.map_err(|cause| self.absent(cause))?;
        match answer.status() {
            StatusCode::OK => Ok(answer),
            StatusCode::NOT_FOUND => {
                Err(ClientError::Unknown { address: self.address.clone(), path: path.to_owned() })
            }
            status => {
                let mut lines = Vec::new();
                self.read(answer, &mut |line| {
                    lines.push(line.to_owned());
                    Ok(())
                })
                .await?;
                let text = lines.join("\n");
                if status == StatusCode::BAD_REQUEST && !text.is_empty() {
                    return Err(ClientError::Question { text });
                }
                Err(ClientError::Refused { address: self.address.clone(), status: status.as_u16(), text })
            }
        }
    }

    /// Cuts what comes into lines; the last need not end.
    async fn read(
        &self,
        mut answer: Response<Incoming>,
        each: &mut dyn FnMut(&str) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        let mut held = Vec::new();
        while let Some(frame) = answer.frame().await {
            let frame = frame.map_err(|cause| self.broken(cause))?;
            for part in
                frame.data_ref().map(Bytes::as_ref).unwrap_or_default().split_inclusive(|b| *b == b'\n')
            {
                held.extend_from_slice(part);
                if let Some(line) = held.strip_suffix(b"\n") {
                    each(&String::from_utf8_lossy(line))?;
                    held.clear();
                }
            }
            if held.len() > CLIENT_ANSWER_BYTES_MAX {
                return Err(self.broken("a line has no end"));
            }
        }
        if !held.is_empty() {
            each(&String::from_utf8_lossy(&held))?;
        }
        Ok(())
    }

    /// For a line that is no answer.
    pub fn unreadable(&self, cause: impl ToString) -> ClientError {
        ClientError::Unreadable { address: self.address.clone(), cause: cause.to_string() }
    }

    fn absent(&self, cause: impl ToString) -> ClientError {
        ClientError::NoProxy { address: self.address.clone(), cause: cause.to_string() }
    }

    fn broken(&self, cause: impl ToString) -> ClientError {
        ClientError::Broken { address: self.address.clone(), cause: cause.to_string() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use serde_json::Value;

    use super::*;
    use crate::stand_in::refused_port;

    /// Answers one request with these bytes; the client for it, and what the request was.
    fn server(answer: &'static str) -> (Client, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::new(&listener.local_addr().unwrap().to_string());
        let served = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        (client, served)
    }

    #[test]
    fn a_question_is_encoded_and_its_answer_understood() {
        let (client, served) = server("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{\"a\": 1}");
        let (answer, text): (Value, String) = client.ask("/x", &[("source", "shop/a b&c")]).unwrap();
        assert_eq!((&answer["a"], text.as_str()), (&Value::from(1), "{\"a\": 1}\n"));
        let request = served.join().unwrap();
        assert!(request.starts_with("GET /x?source=shop%2Fa+b%26c HTTP/1.1\r\n"), "{request}");
    }

    #[test]
    fn lines_come_one_by_one() {
        let answer =
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\none\nt\r\n4\r\nwo\n3\r\n0\r\n\r\n";
        let (client, _served) = server(answer);
        let mut lines = Vec::new();
        client
            .lines("/x", &[], &mut |line| {
                lines.push(line.to_owned());
                Ok(())
            })
            .unwrap();
        assert_eq!(lines, ["one", "two", "3"]);
    }

    #[test]
    fn what_goes_wrong_is_told_apart() {
        for (answer, expected) in [
            ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "does not know /x"),
            ("HTTP/1.1 400 Bad Request\r\ncontent-length: 6\r\n\r\nwrong\n", "wrong"),
            ("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", "answered 400"),
            ("HTTP/1.1 503 Sorry\r\ncontent-length: 5\r\n\r\nlater", "answered 503: later"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 60\r\n\r\n{", "broke off"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{", "own version"),
            ("SSH-2.0-server\r\n", "no proxy answers on"),
        ] {
            let (client, _served) = server(answer);
            let error = client.ask::<Value>("/x", &[]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} should say {expected}");
            assert!(expected != "wrong" || error == expected, "nobody typed an HTTP status: {error}");
        }
        let (_held, port) = refused_port();
        let error =
            Client::new(&format!("127.0.0.1:{port}")).ask::<Value>("/x", &[]).unwrap_err().to_string();
        assert!(error.contains("no proxy answers on") && error.contains("RINGWAY_ADMIN"), "{error}");
    }
}
