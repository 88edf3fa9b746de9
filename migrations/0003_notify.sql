-- Whoever shows the station is told that something changed, at once and without Redis. Nothing of the change is said: the
-- listener reads what is there. One notification per statement and transaction, however many rows it touched.
CREATE FUNCTION silvasonic_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('silvasonic_changed', TG_TABLE_NAME);
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER devices_notify AFTER INSERT OR UPDATE OR DELETE ON devices
  FOR EACH STATEMENT EXECUTE FUNCTION silvasonic_notify();
--> statement-breakpoint
CREATE TRIGGER system_services_notify AFTER INSERT OR UPDATE OR DELETE ON system_services
  FOR EACH STATEMENT EXECUTE FUNCTION silvasonic_notify();
--> statement-breakpoint
CREATE TRIGGER microphone_profiles_notify AFTER INSERT OR UPDATE OR DELETE ON microphone_profiles
  FOR EACH STATEMENT EXECUTE FUNCTION silvasonic_notify();
--> statement-breakpoint
CREATE TRIGGER system_config_notify AFTER INSERT OR UPDATE OR DELETE ON system_config
  FOR EACH STATEMENT EXECUTE FUNCTION silvasonic_notify();
--> statement-breakpoint
CREATE TRIGGER events_notify AFTER INSERT OR UPDATE OR DELETE ON events
  FOR EACH STATEMENT EXECUTE FUNCTION silvasonic_notify();
