//! InitProducerId, for idempotent producers (C-8).

use super::{Broker, Code};
use crate::protocol::{InitProducerIdRequest, InitProducerIdResponse};

impl Broker {
    pub(super) async fn init_producer_id(
        &self,
        version: i16,
        request: &InitProducerIdRequest,
    ) -> InitProducerIdResponse {
        match self.fresh_producer_id(version, request).await {
            Ok(producer_id) => {
                InitProducerIdResponse { producer_id, ..InitProducerIdResponse::default() }
            }
            Err(code) => InitProducerIdResponse {
                error_code: code.get(),
                producer_epoch: -1,
                ..InitProducerIdResponse::default()
            },
        }
    }

    async fn fresh_producer_id(
        &self,
        version: i16,
        request: &InitProducerIdRequest,
    ) -> Result<i64, Code> {
        let half_named = (request.producer_id == -1) != (request.producer_epoch == -1);
        let empty_id = request.transactional_id.as_ref().is_some_and(|id| id.is_empty());
        if empty_id || (version >= 3 && half_named) {
            return Err(Code::InvalidRequest);
        }
        if request.transactional_id.is_some() {
            // Nobody may use transactions here; the one refusal that every version of every client
            // treats as final.
            return Err(Code::TransactionalIdAuthorizationFailed);
        }
        let id = self.producer_ids.allocate().await.map_err(|e| Code::from(&e))?;
        Ok(id.get())
    }
}
