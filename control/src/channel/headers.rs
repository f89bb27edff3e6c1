//! The headers of each call: who we are to the control plane.

use std::fs;
use std::path::PathBuf;

use thiserror::Error;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use super::error::ConnectError;
use crate::environment::ChannelSettings;

/// A header that cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the header `{name}: {value}` cannot be sent: correct the variable that asks for it")]
pub struct HeaderError {
    name: String,
    value: String,
}

/// Adds the headers to each call.
#[derive(Clone, Debug)]
pub(crate) struct CallHeaders {
    fixed: MetadataMap,
    token: Option<PathBuf>,
}

impl CallHeaders {
    pub(super) fn new(settings: &ChannelSettings, cluster_id: &str) -> Result<Self, HeaderError> {
        let mut fixed = MetadataMap::new();
        let cluster = ("clusterid", cluster_id);
        let named = settings.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in [cluster].into_iter().chain(named) {
            let invalid = || HeaderError { name: name.to_owned(), value: value.to_owned() };
            let key = MetadataKey::<Ascii>::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
            fixed.insert(key, value.parse().map_err(|_| invalid())?);
        }
        Ok(Self { fixed, token: settings.token.clone() })
    }

    /// Read anew each time: it is replaced every few minutes.
    fn bearer(&self) -> Result<Option<MetadataValue<Ascii>>, Status> {
        let Some(path) = &self.token else { return Ok(None) };
        let unusable =
            |cause: String| Status::from_error(Box::new(ConnectError::Token { path: path.clone(), cause }));
        let token = fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
        let value = format!("Bearer {}", token.trim()).parse();
        let mut value: MetadataValue<Ascii> = value.map_err(|_| unusable("it is no text".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl Interceptor for CallHeaders {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for entry in self.fixed.iter() {
            if let tonic::metadata::KeyAndValueRef::Ascii(name, value) = entry {
                request.metadata_mut().insert(name, value.clone());
            }
        }
        if let Some(bearer) = self.bearer()? {
            request.metadata_mut().insert("authorization", bearer);
        }
        Ok(request)
    }
}
