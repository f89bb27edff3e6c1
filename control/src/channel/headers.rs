//! The headers of each call: who we are to the control plane.

use std::fs;

use thiserror::Error;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};
use zeroize::Zeroizing;

use super::error::ConnectError;
use crate::environment::{ChannelSettings, Token};

/// A header that cannot be sent. Its value may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the header `{name}` cannot be sent: correct the variable that asks for it")]
pub struct HeaderError {
    name: String,
}

/// Adds the headers to each call.
#[derive(Clone, Debug)]
pub(crate) struct CallHeaders {
    fixed: MetadataMap,
    token: Option<Token>,
}

impl CallHeaders {
    pub(super) fn new(settings: &ChannelSettings, cluster_id: &str) -> Result<Self, HeaderError> {
        let mut fixed = MetadataMap::new();
        let cluster = ("clusterid", cluster_id);
        let named = settings.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in [cluster].into_iter().chain(named) {
            let invalid = || HeaderError { name: name.to_owned() };
            let key = MetadataKey::<Ascii>::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
            fixed.insert(key, value.parse().map_err(|_| invalid())?);
        }
        Ok(Self { fixed, token: settings.token.clone() })
    }

    fn bearer(&self) -> Result<Option<MetadataValue<Ascii>>, Status> {
        let Some(token) = &self.token else { return Ok(None) };
        let unusable = |cause: String| {
            let token = match token {
                Token::File(path) => path.display().to_string(),
                Token::Literal(_) => "the text of AUTH_TOKEN".to_owned(),
            };
            Status::from_error(Box::new(ConnectError::Token { token, cause }))
        };
        let token = match token {
            Token::File(path) => fs::read_to_string(path).map(Zeroizing::new),
            Token::Literal(token) => Ok(token.clone()),
        };
        let token = token.map_err(|error| unusable(error.to_string()))?;
        let value = Zeroizing::new(format!("Bearer {}", token.trim())).parse();
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
