//! Cross-signing keys, and the signatures that users have put under keys.

use sqlx::PgConnection;

use super::{StoreError, UserNid};

/// What a cross-signing key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Usage {
    /// It stands for the user, and signs the two others.
    Master,
    /// It signs the user's devices.
    SelfSigning,
    /// It signs other users' master keys.
    UserSigning,
}

impl Usage {
    fn to_sql(self) -> i16 {
        match self {
            Self::Master => 1,
            Self::SelfSigning => 2,
            Self::UserSigning => 3,
        }
    }

    fn from_sql(number: i16) -> Option<Self> {
        match number {
            1 => Some(Self::Master),
            2 => Some(Self::SelfSigning),
            3 => Some(Self::UserSigning),
            _ => None,
        }
    }
}

/// A published cross-signing key.
#[derive(Clone, Debug)]
pub struct CrossSigningKey {
    /// Whose.
    pub user: UserNid,
    /// What it is for.
    pub usage: Usage,
    /// The public key, in unpadded base64.
    pub public_key: String,
    /// The key as it was uploaded.
    pub json: String,
}

/// A signature that was uploaded apart from the key that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySignature {
    /// Whose key was signed.
    pub owner: UserNid,
    /// The id of the device, or the public master key.
    pub target: String,
    /// Who has signed.
    pub signer: UserNid,
    /// With which key.
    pub key_id: String,
    /// The signature.
    pub signature: String,
}

/// Makes others who change this user's keys wait until the transaction ends.
pub async fn lock(conn: &mut PgConnection, user: UserNid) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        SELECT user_nid
        FROM accounts
        WHERE user_nid = $1
        FOR NO KEY UPDATE
        "#,
        user as UserNid,
    )
    .fetch_optional(conn)
    .await?;
    Ok(())
}

/// The cross-signing keys of some users.
pub async fn list(
    conn: &mut PgConnection,
    users: &[UserNid],
) -> Result<Vec<CrossSigningKey>, StoreError> {
    let rows = sqlx::query!(
        r#"
        SELECT user_nid AS "user: UserNid",
            usage,
            public_key,
            json
        FROM cross_signing_keys
        WHERE user_nid = ANY($1)
        "#,
        &users.iter().map(|user| user.0).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let usage = Usage::from_sql(row.usage)
                .ok_or_else(|| StoreError::inconsistent("cross_signing_keys", "usage", row.user))?;
            Ok(CrossSigningKey {
                user: row.user,
                usage,
                public_key: row.public_key,
                json: row.json,
            })
        })
        .collect()
}

/// Publishes cross-signing keys of one user. The signatures of and under the keys that they
/// replace go; so do, with another master key, the keys that the old one had signed.
pub async fn upsert(
    conn: &mut PgConnection,
    user: UserNid,
    keys: &[CrossSigningKey],
) -> Result<(), StoreError> {
    let usages: Vec<_> = keys.iter().map(|key| key.usage.to_sql()).collect();
    let public_keys: Vec<_> = keys.iter().map(|key| key.public_key.as_str()).collect();
    let json: Vec<_> = keys.iter().map(|key| key.json.as_str()).collect();
    sqlx::query!(
        r#"
        WITH new AS (
            SELECT *
            FROM UNNEST($2::SMALLINT[], $3::TEXT[]) AS n (usage, public_key)
        ), gone AS (
            SELECT k.usage, k.public_key
            FROM cross_signing_keys k
            WHERE k.user_nid = $1
                AND (
                    EXISTS (
                        SELECT 1 FROM new n
                        WHERE n.usage = k.usage AND n.public_key <> k.public_key
                    )
                    OR EXISTS (
                        SELECT 1
                        FROM new n
                        JOIN cross_signing_keys m ON m.user_nid = $1 AND m.usage = 1
                        WHERE n.usage = 1 AND n.public_key <> m.public_key
                    )
                )
        ), made AS (
            DELETE FROM key_signatures s
            USING gone g
            WHERE s.signer_nid = $1
                AND s.key_id = 'ed25519:' || g.public_key
        ), under AS (
            DELETE FROM key_signatures s
            USING gone g
            WHERE s.owner_nid = $1
                AND s.target = g.public_key
                AND NOT (s.signer_nid = $1 AND s.key_id = 'ed25519:' || g.public_key)
        )
        DELETE FROM cross_signing_keys k
        USING gone g
        WHERE k.user_nid = $1
            AND k.usage = g.usage
        "#,
        user as UserNid,
        &usages,
        &public_keys as &[&str],
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        INSERT INTO cross_signing_keys (user_nid, usage, public_key, json)
        SELECT $1, n.usage, n.public_key, n.json
        FROM UNNEST($2::SMALLINT[], $3::TEXT[], $4::TEXT[]) AS n (usage, public_key, json)
        ON CONFLICT (user_nid, usage) DO UPDATE
        SET public_key = EXCLUDED.public_key,
            json = EXCLUDED.json
        "#,
        user as UserNid,
        &usages,
        &public_keys as &[&str],
        &json as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The signatures under the keys of some users that a reader may see: what the owners have signed
/// themselves, and what the reader has.
pub async fn list_signatures(
    conn: &mut PgConnection,
    owners: &[UserNid],
    reader: UserNid,
) -> Result<Vec<KeySignature>, StoreError> {
    let rows = sqlx::query_as!(
        KeySignature,
        r#"
        SELECT owner_nid AS "owner: UserNid",
            target,
            signer_nid AS "signer: UserNid",
            key_id,
            signature
        FROM key_signatures
        WHERE owner_nid = ANY($1)
            AND (signer_nid = owner_nid OR signer_nid = $2)
        "#,
        &owners.iter().map(|user| user.0).collect::<Vec<_>>(),
        reader as UserNid,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows)
}

/// Keeps signatures.
pub async fn upsert_signatures(
    conn: &mut PgConnection,
    signatures: &[KeySignature],
) -> Result<(), StoreError> {
    let column =
        |field: fn(&KeySignature) -> &str| signatures.iter().map(field).collect::<Vec<_>>();
    sqlx::query!(
        r#"
        INSERT INTO key_signatures (owner_nid, target, signer_nid, key_id, signature)
        SELECT DISTINCT ON (n.owner_nid, n.target, n.signer_nid, n.key_id)
            n.owner_nid, n.target, n.signer_nid, n.key_id, n.signature
        FROM UNNEST($1::BIGINT[], $2::TEXT[], $3::BIGINT[], $4::TEXT[], $5::TEXT[])
            AS n (owner_nid, target, signer_nid, key_id, signature)
        ORDER BY n.owner_nid, n.target, n.signer_nid, n.key_id
        ON CONFLICT (owner_nid, target, signer_nid, key_id) DO UPDATE
        SET signature = EXCLUDED.signature
        "#,
        &signatures.iter().map(|one| one.owner.0).collect::<Vec<_>>(),
        &column(|one| &one.target) as &[&str],
        &signatures
            .iter()
            .map(|one| one.signer.0)
            .collect::<Vec<_>>(),
        &column(|one| &one.key_id) as &[&str],
        &column(|one| &one.signature) as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(())
}
