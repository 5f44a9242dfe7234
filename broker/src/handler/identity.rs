//! InitProducerId, for idempotent and for transactional producers (C-8).

use super::{Broker, Code};
use crate::protocol::{InitProducerIdRequest, InitProducerIdResponse};
use crate::txn::Identity;

/// The first version that knows PRODUCER_FENCED (C-6).
const KNOWS_FENCED_SINCE: i16 = 4;
/// The first version in which a producer says who it is (KIP-360).
const NAMES_PRODUCER_SINCE: i16 = 3;

impl Broker {
    pub(super) async fn init_producer_id(
        &self,
        version: i16,
        request: InitProducerIdRequest,
    ) -> InitProducerIdResponse {
        match self.identity(version, request).await {
            Ok(identity) => InitProducerIdResponse {
                producer_id: identity.producer_id,
                producer_epoch: identity.epoch,
                ..InitProducerIdResponse::default()
            },
            Err(error_code) => InitProducerIdResponse {
                error_code,
                producer_epoch: -1,
                ..InitProducerIdResponse::default()
            },
        }
    }

    async fn identity(
        &self,
        version: i16,
        request: InitProducerIdRequest,
    ) -> Result<Identity, i16> {
        let asked = Identity { producer_id: request.producer_id, epoch: request.producer_epoch };
        let half_named = (asked.producer_id == -1) != (asked.epoch == -1);
        if version >= NAMES_PRODUCER_SINCE && half_named {
            return Err(Code::InvalidRequest.get());
        }
        let asked = (version >= NAMES_PRODUCER_SINCE && asked.producer_id != -1).then_some(asked);
        let Some(transactional_id) = request.transactional_id else {
            let id = self.producer_ids.allocate().await.map_err(|e| Code::from(&e).get())?;
            return Ok(Identity { producer_id: id.get(), epoch: 0 });
        };
        let timeout_ms = request.transaction_timeout_ms;
        let identity = self.transactions.init(&transactional_id, asked, timeout_ms).await;
        identity.map_err(|error| error.code_for(version >= KNOWS_FENCED_SINCE))
    }
}
