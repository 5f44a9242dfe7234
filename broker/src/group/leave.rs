//! LeaveGroup: members that go by themselves, or are removed by an administrator.

use super::effect::Effect;
use super::error::GroupError;
use super::state::{Group, Now, State};
use std::sync::Arc;

/// One member to remove, by id or, if that is empty, by static instance id.
#[derive(Clone, Debug)]
pub(super) struct Leaver {
    pub(super) member_id: Arc<str>,
    pub(super) instance_id: Option<Arc<str>>,
}

impl Group {
    /// Removes members; one outcome each, in order (G-17).
    ///
    /// # Errors
    /// [`GroupError::CoordinatorNotAvailable`] for the request as a whole, in a dead group.
    pub(super) fn leave(
        &mut self,
        now: Now,
        leavers: &[Leaver],
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        if self.state == State::Dead {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        let members_before = self.members.len();
        let pending_before = self.pending.len();
        let outcomes = leavers.iter().map(|leaver| self.leave_one(leaver, effects)).collect();
        if self.members.len() < members_before {
            self.after_departure(now, effects);
        } else if self.pending.len() < pending_before {
            self.settle_join(now, effects);
        }
        Ok(outcomes)
    }

    fn leave_one(&mut self, leaver: &Leaver, effects: &mut Vec<Effect>) -> Result<(), GroupError> {
        let instance_id = leaver.instance_id.as_deref();
        if leaver.member_id.is_empty() {
            let named = instance_id.and_then(|instance| self.statics.get(instance)).cloned();
            let member_id = named.ok_or(GroupError::UnknownMember)?;
            self.expel(&member_id, effects);
            return Ok(());
        }
        if self.pending.remove(&leaver.member_id).is_some() {
            return Ok(());
        }
        self.check_member(&leaver.member_id, instance_id)?;
        self.expel(&leaver.member_id, effects);
        Ok(())
    }
}
