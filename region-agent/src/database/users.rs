//! The users of a database, made by its primary. That one is missing is told, but the instance serves all
//! others: it is no problem of the instance, which would keep it from being the primary.

use decision::config::User;
use decision::goal::DatabaseGoal;
use failover::postgres::Postgres;

use super::keeper::Keeper;
use super::settings;

impl Keeper {
    /// What failed is tried again at the next time, with its password read anew.
    pub(super) async fn tend_users(&mut self, goal: &DatabaseGoal, postgres: &Postgres, is_first: bool) {
        if !is_first && self.users_wanting.is_none() {
            return;
        }
        let mut wanting = Vec::new();
        for user in &goal.wished.users {
            if let Err(why) = self.ensure_user(postgres, user).await {
                wanting.push(format!("{}: {why}", user.name));
            }
        }
        let wanting = (!wanting.is_empty()).then(|| wanting.join("; "));
        if let Some(why) = &wanting
            && self.users_wanting.as_ref() != Some(why)
        {
            tracing::warn!(why, "users of the database are not as wished");
        }
        self.users_wanting = wanting;
    }

    async fn ensure_user(&mut self, postgres: &Postgres, user: &User) -> Result<(), String> {
        let password = settings::password(user.password.as_ref(), &user.name).await?;
        let sql = self.connection.get(postgres).await.map_err(|error| error.to_string())?;
        let done = sql.ensure_user(&settings::user(user), &password).await;
        if let Err(error) = done {
            // It may have timed out.
            self.connection.drop();
            return Err(error.to_string());
        }
        Ok(())
    }
}
