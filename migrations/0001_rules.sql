-- Rules that take more than one row, or the row's past. Their sentences are for people: the page shows them as they are.

-- A person's change of a device is counted; what hardware and controller say is not. A generation that is given beside
-- (rows restored as they were) stays as given.
CREATE FUNCTION devices_count_generation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.generation = OLD.generation
    AND (NEW.enabled, NEW.enrollment_status, NEW.profile_slug, NEW.settings, NEW.restart_token)
      IS DISTINCT FROM (OLD.enabled, OLD.enrollment_status, OLD.profile_slug, OLD.settings, OLD.restart_token)
  THEN
    NEW.generation := OLD.generation + 1;
  END IF;
  RETURN NEW;
END $$;
--> statement-breakpoint
CREATE TRIGGER devices_count_generation BEFORE UPDATE ON devices
  FOR EACH ROW EXECUTE FUNCTION devices_count_generation();
--> statement-breakpoint
CREATE FUNCTION system_services_count_generation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.generation = OLD.generation
    AND (NEW.enabled, NEW.settings, NEW.restart_token) IS DISTINCT FROM (OLD.enabled, OLD.settings, OLD.restart_token)
  THEN
    NEW.generation := OLD.generation + 1;
  END IF;
  RETURN NEW;
END $$;
--> statement-breakpoint
CREATE TRIGGER system_services_count_generation BEFORE UPDATE ON system_services
  FOR EACH ROW EXECUTE FUNCTION system_services_count_generation();
--> statement-breakpoint
-- With the owner's rights: whoever may change a profile may not write the devices' generation himself.
CREATE FUNCTION microphone_profiles_count_generation() RETURNS trigger LANGUAGE plpgsql
  SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  UPDATE public.devices SET generation = generation + 1 WHERE profile_slug = NEW.slug;
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER microphone_profiles_count_generation AFTER UPDATE OF config ON microphone_profiles
  FOR EACH ROW WHEN (NEW.config IS DISTINCT FROM OLD.config) EXECUTE FUNCTION microphone_profiles_count_generation();
--> statement-breakpoint
-- Whoever is not the controller is a person, on the page or at a console, and what a person decides is never undone.
CREATE FUNCTION devices_decided_by_person() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_user <> 'silvasonic_controller' THEN
    NEW.decided_by := 'person';
  END IF;
  RETURN NEW;
END $$;
--> statement-breakpoint
CREATE TRIGGER devices_decided_by_person BEFORE UPDATE ON devices
  FOR EACH ROW WHEN (
    (NEW.enrollment_status, NEW.profile_slug) IS DISTINCT FROM (OLD.enrollment_status, OLD.profile_slug)
  ) EXECUTE FUNCTION devices_decided_by_person();
--> statement-breakpoint
-- Recordings lie in the folder of that name. Only the controller may restore one.
CREATE FUNCTION devices_keep_workspace() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_user = 'silvasonic_controller' THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'The id and the folder of a device (%) are given once and never change.', OLD.id
    USING ERRCODE = 'check_violation';
END $$;
--> statement-breakpoint
CREATE TRIGGER devices_keep_workspace BEFORE UPDATE ON devices
  FOR EACH ROW WHEN ((NEW.id, NEW.workspace) IS DISTINCT FROM (OLD.id, OLD.workspace))
  EXECUTE FUNCTION devices_keep_workspace();
--> statement-breakpoint
CREATE FUNCTION devices_at_most() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (SELECT count(*) FROM public.devices) >= 500
    AND NOT EXISTS (SELECT FROM public.devices WHERE id = NEW.id)
  THEN
    RAISE EXCEPTION 'The station already knows 500 devices, and 500 is the most: forget some that are offline.'
      USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;
--> statement-breakpoint
CREATE TRIGGER devices_at_most BEFORE INSERT ON devices FOR EACH ROW EXECUTE FUNCTION devices_at_most();
--> statement-breakpoint
CREATE FUNCTION devices_forget_offline_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '"%" is plugged in: unplug it before it is forgotten.', coalesce(nullif(OLD.name, ''), OLD.id)
    USING ERRCODE = 'object_in_use';
END $$;
--> statement-breakpoint
CREATE TRIGGER devices_forget_offline_only BEFORE DELETE ON devices
  FOR EACH ROW WHEN (OLD.status = 'online') EXECUTE FUNCTION devices_forget_offline_only();
--> statement-breakpoint
CREATE FUNCTION microphone_profiles_keep_used() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  used_by text;
BEGIN
  SELECT string_agg(shown, ', ') INTO used_by FROM (
    SELECT CASE
        WHEN position <= 10 THEN format('"%s"', title)
        ELSE format('and %s more', total - 10)
      END AS shown
    FROM (
      SELECT coalesce(nullif(name, ''), id) AS title, row_number() OVER (ORDER BY name, id) AS position, count(*) OVER () AS total
      FROM public.devices WHERE profile_slug = OLD.slug
    ) AS users
    WHERE position <= 11
    ORDER BY position
  ) AS listed;
  IF used_by IS NOT NULL THEN
    RAISE EXCEPTION 'Profile "%" is used by %: give them another profile first.', OLD.name, used_by
      USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.is_system AND current_user <> 'silvasonic_controller' THEN
    RAISE EXCEPTION 'Profile "%" comes with the station and cannot be removed: give its microphones another profile instead.', OLD.name
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN OLD;
END $$;
--> statement-breakpoint
CREATE TRIGGER microphone_profiles_keep_used BEFORE DELETE ON microphone_profiles
  FOR EACH ROW EXECUTE FUNCTION microphone_profiles_keep_used();
