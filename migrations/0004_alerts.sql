ALTER TABLE "system_config" DROP CONSTRAINT "system_config_value";--> statement-breakpoint
ALTER TABLE "system_config" ADD CONSTRAINT "system_config_value" CHECK (coalesce(case
        when "system_config"."key" = 'station_id' then
          jsonb_typeof("system_config"."value") = 'string' and "system_config"."value" #>> '{}' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        when "system_config"."key" = 'station_name' then
          jsonb_typeof("system_config"."value") = 'string' and char_length("system_config"."value" #>> '{}') <= 200
        when "system_config"."key" in ('auto_enrollment', 'auto_update', 'live_listening', 'workspace_marked') then
          jsonb_typeof("system_config"."value") = 'boolean'
        when "system_config"."key" = 'alerts' then
          jsonb_typeof("system_config"."value") = 'object'
        when "system_config"."key" = 'position' then case
          when jsonb_typeof("system_config"."value") = 'null' then true
          when jsonb_typeof("system_config"."value" -> 'latitude') = 'number' and jsonb_typeof("system_config"."value" -> 'longitude') = 'number' then
            ("system_config"."value" ->> 'latitude')::numeric between -90 and 90 and ("system_config"."value" ->> 'longitude')::numeric between -180 and 180
          else false end
        else true end, false));