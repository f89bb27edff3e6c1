//! A pod as an agent announced it: named, and with a descriptor of its network namespace.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use engine::engine::Pod;
use nix::sys::stat::fstat;
use proto::zds::WorkloadInfo;

use crate::netns;

/// The descriptor is shared: it is kept for as long as the pod is wanted, so that adding it can be tried again.
#[derive(Clone, Debug)]
pub(crate) struct AnnouncedPod {
    pub(crate) uid: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) namespace: Arc<str>,
    pub(crate) service_account: Arc<str>,
    netns: Arc<OwnedFd>,
    /// Device and inode: what tells one namespace from another.
    netns_id: (u64, u64),
}

impl AnnouncedPod {
    /// An error if the descriptor is not one of a namespace.
    pub(crate) fn new(uid: Arc<str>, info: WorkloadInfo, netns: OwnedFd) -> io::Result<Self> {
        if !netns::is_namespace(&netns)? {
            return Err(io::Error::other("it is of something else"));
        }
        let stat = fstat(&netns)?;
        Ok(Self {
            uid,
            name: info.name.into(),
            namespace: info.namespace.into(),
            service_account: info.service_account.into(),
            netns: Arc::new(netns),
            netns_id: (stat.st_dev, stat.st_ino),
        })
    }

    /// The pod for the engine, with a descriptor of its own.
    pub(crate) fn open(&self) -> Result<Pod, String> {
        let netns = self.netns.try_clone().map_err(|cause| {
            format!("no descriptor for its namespace: {cause}; raise the limit of open files (ulimit -n)")
        })?;
        Ok(Pod {
            uid: Arc::clone(&self.uid),
            name: Arc::clone(&self.name),
            namespace: Arc::clone(&self.namespace),
            service_account: Arc::clone(&self.service_account),
            netns: Some(netns),
        })
    }
}

/// Equal when announced in the same words for the same namespace, by whatever descriptor.
impl PartialEq for AnnouncedPod {
    fn eq(&self, other: &Self) -> bool {
        let words = |pod: &Self| {
            [&pod.uid, &pod.name, &pod.namespace, &pod.service_account]
                .map(|word: &Arc<str>| Arc::clone(word))
        };
        self.netns_id == other.netns_id && words(self) == words(other)
    }
}

impl Eq for AnnouncedPod {}
