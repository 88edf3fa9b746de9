-- Two roles without a login of their own: whoever logs in is granted one. Roles belong to the server, not to this
-- database, so they may be there already, or be made by another migration at this very moment.
DO $$
DECLARE
  wanted text;
BEGIN
  FOREACH wanted IN ARRAY ARRAY['silvasonic_controller', 'silvasonic_web'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL;
      END;
    END IF;
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
      BEGIN
        EXECUTE format('GRANT %I TO CURRENT_USER', wanted);
      EXCEPTION WHEN insufficient_privilege THEN
        IF NOT pg_has_role(current_user, wanted, 'MEMBER') THEN
          RAISE EXCEPTION 'The server has a role % that % may not assume: as a superuser, run GRANT % TO %.',
            wanted, current_user, wanted, current_user USING ERRCODE = 'insufficient_privilege';
        END IF;
      END;
    END IF;
  END LOOP;
END $$;
--> statement-breakpoint
GRANT USAGE ON SCHEMA public TO silvasonic_controller, silvasonic_web;
--> statement-breakpoint
GRANT SELECT ON devices, microphone_profiles, system_services, system_config, events, silvasonic_migrations
  TO silvasonic_controller, silvasonic_web;
--> statement-breakpoint
GRANT INSERT, UPDATE, DELETE ON devices, microphone_profiles, system_services, system_config, events
  TO silvasonic_controller;
--> statement-breakpoint
GRANT UPDATE (name, enabled, enrollment_status, profile_slug, settings, restart_token, decided_by), DELETE
  ON devices TO silvasonic_web;
--> statement-breakpoint
GRANT UPDATE (enabled, settings, restart_token) ON system_services TO silvasonic_web;
--> statement-breakpoint
GRANT INSERT (slug, name, description, manufacturer, model, config),
  UPDATE (name, description, manufacturer, model, config), DELETE
  ON microphone_profiles TO silvasonic_web;
--> statement-breakpoint
GRANT INSERT, UPDATE, DELETE ON system_config TO silvasonic_web;
--> statement-breakpoint
GRANT SELECT, INSERT, UPDATE, DELETE ON owner, sessions TO silvasonic_web;
--> statement-breakpoint
-- Two keys are the controller's, although they stand among a person's.
CREATE FUNCTION system_config_keep_own() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  key_before text := CASE WHEN TG_OP <> 'INSERT' THEN OLD.key END;
  key_after text := CASE WHEN TG_OP <> 'DELETE' THEN NEW.key END;
  own text;
BEGIN
  FOREACH own IN ARRAY ARRAY['station_id', 'workspace_marked'] LOOP
    IF own IN (key_before, key_after) AND NOT pg_has_role(current_user, 'silvasonic_controller', 'USAGE') THEN
      RAISE EXCEPTION '"%" is written by the controller alone.', own USING ERRCODE = 'insufficient_privilege';
    END IF;
  END LOOP;
  RETURN coalesce(NEW, OLD);
END $$;
--> statement-breakpoint
CREATE TRIGGER system_config_keep_own BEFORE INSERT OR UPDATE OR DELETE ON system_config
  FOR EACH ROW EXECUTE FUNCTION system_config_keep_own();
