//! Instances themselves, those that were provisioned, and which may use which crypto instance.

use keygate_core::instance::Records;
use keygate_core::store::StoreError;

use super::super::error::Trouble;
use super::super::stage::decoded_of;
use super::View;
use crate::codec;
use crate::schema::{self, Table};

impl View {
    /// All of them, by id.
    pub(in super::super) fn tenants(&self) -> Result<Records, Trouble> {
        let mut records = Records::default();
        let nameless = || StoreError::Corrupt("a row of the instances is of no instance".to_owned());
        self.for_each_row(Table::Instances, &[], |row, record| {
            let id = schema::instance_of_row(row).ok_or_else(nameless)?;
            records.instances.push(decoded_of(id, "the record", codec::decode_instance(id, record))?);
            Ok(())
        })?;
        self.for_each_row(Table::Authorizations, &[], |row, record| {
            let (source, target) = schema::authorization_of_row(row).ok_or_else(nameless)?;
            let authorization = codec::decode_authorization(source, target, record);
            records.authorizations.push(decoded_of(source, "an authorization", authorization)?);
            Ok(())
        })?;
        Ok(records)
    }
}
