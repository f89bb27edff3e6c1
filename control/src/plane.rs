//! The data plane as the control side drives it: the engine, or in tests what takes its place.

use std::sync::Arc;

use engine::engine::{Engine, EngineError, Pod};
use engine::mesh::Snapshot;
use engine::observe::{Observation, PodConnections, ShardStatistics};

/// What the control thread asks of the data plane. See [`Engine`] for what each call promises.
pub(crate) trait DataPlane {
    fn publish(&self, snapshot: Arc<Snapshot>);
    async fn add_pod(&self, pod: Pod) -> Result<(), EngineError>;
    async fn remove_pod(&self, uid: &str) -> Result<(), EngineError>;
    async fn next_observation(&self) -> Observation;
    fn lost_observations(&self) -> u64;
    fn statistics(&self) -> Vec<ShardStatistics>;
    async fn connections_of_pods(&self) -> Vec<PodConnections>;
    async fn drain(&self);
    async fn cut(&self);
}

impl DataPlane for Engine {
    fn publish(&self, snapshot: Arc<Snapshot>) {
        Self::publish(self, snapshot);
    }

    async fn add_pod(&self, pod: Pod) -> Result<(), EngineError> {
        Self::add_pod(self, pod).await
    }

    async fn remove_pod(&self, uid: &str) -> Result<(), EngineError> {
        Self::remove_pod(self, uid).await
    }

    async fn next_observation(&self) -> Observation {
        Self::next_observation(self).await
    }

    fn lost_observations(&self) -> u64 {
        Self::lost_observations(self)
    }

    fn statistics(&self) -> Vec<ShardStatistics> {
        Self::statistics(self)
    }

    async fn connections_of_pods(&self) -> Vec<PodConnections> {
        Self::connections_of_pods(self).await
    }

    async fn drain(&self) {
        Self::drain(self).await;
    }

    async fn cut(&self) {
        Self::cut(self).await;
    }
}
