//! A gRPC service on a unix socket, on a thread of its own.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use tokio::net::UnixListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::transport::Server;

/// A running service. When it is dropped its connections are cut, as by the end of its process; the socket's file
/// stays, as after SIGKILL.
#[derive(Debug)]
pub(crate) struct Serving {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// Serves on `socket`, in the place of who was there.
    pub(crate) fn start<S>(socket: &Path, service: S) -> Result<Self>
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
    {
        let _ = fs::remove_file(socket);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(socket).with_context(|| format!("listening at {}", socket.display()))?
        };
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                let serving =
                    Server::builder().serve_with_incoming(service, UnixListenerStream::new(listener));
                tokio::select! {
                    _ = serving => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A path for a socket that nobody else has.
pub(crate) fn socket(role: &str) -> Result<PathBuf> {
    Ok(crate::run::Run::current()?.unique_directory(role)?.join("socket"))
}
