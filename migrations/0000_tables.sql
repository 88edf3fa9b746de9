CREATE TABLE "devices" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text DEFAULT '' NOT NULL,
	"vendor_id" text NOT NULL,
	"product_id" text NOT NULL,
	"serial" text,
	"serial_shared" boolean DEFAULT false NOT NULL,
	"port_path" text NOT NULL,
	"product" text DEFAULT '' NOT NULL,
	"manufacturer" text DEFAULT '' NOT NULL,
	"capabilities" jsonb DEFAULT '{"offers":[]}'::jsonb NOT NULL,
	"status" text NOT NULL,
	"enabled" boolean DEFAULT true NOT NULL,
	"enrollment_status" text DEFAULT 'pending' NOT NULL,
	"decided_by" text,
	"profile_slug" text,
	"suggested_profile" text,
	"settings" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"restart_token" text DEFAULT '' NOT NULL,
	"workspace" text NOT NULL,
	"first_seen" timestamp with time zone DEFAULT now() NOT NULL,
	"last_seen" timestamp with time zone DEFAULT now() NOT NULL,
	"phase" text DEFAULT 'waiting' NOT NULL,
	"generation" integer DEFAULT 1 NOT NULL,
	"observed_generation" integer DEFAULT 0 NOT NULL,
	"reason" text DEFAULT '' NOT NULL,
	"message" text DEFAULT '' NOT NULL,
	"phase_since" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "devices_workspace_unique" UNIQUE("workspace"),
	CONSTRAINT "devices_id" CHECK (char_length("devices"."id") between 1 and 200),
	CONSTRAINT "devices_name" CHECK (char_length("devices"."name") <= 200),
	CONSTRAINT "devices_vendor_id" CHECK ("devices"."vendor_id" ~ '^[0-9a-f]{4}$'),
	CONSTRAINT "devices_product_id" CHECK ("devices"."product_id" ~ '^[0-9a-f]{4}$'),
	CONSTRAINT "devices_serial" CHECK (char_length("devices"."serial") <= 2048),
	CONSTRAINT "devices_port_path" CHECK (char_length("devices"."port_path") <= 500),
	CONSTRAINT "devices_product" CHECK (char_length("devices"."product") <= 500),
	CONSTRAINT "devices_manufacturer" CHECK (char_length("devices"."manufacturer") <= 500),
	CONSTRAINT "devices_capabilities" CHECK (jsonb_typeof("devices"."capabilities") = 'object' and char_length("devices"."capabilities"::text) <= 65536),
	CONSTRAINT "devices_status" CHECK ("devices"."status" in ('online', 'offline')),
	CONSTRAINT "devices_enrollment_status" CHECK ("devices"."enrollment_status" in ('pending', 'enrolled', 'ignored')),
	CONSTRAINT "devices_decided_by" CHECK ("devices"."decided_by" in ('auto', 'person')),
	CONSTRAINT "devices_settings" CHECK (jsonb_typeof("devices"."settings") = 'object' and char_length("devices"."settings"::text) <= 65536),
	CONSTRAINT "devices_restart_token" CHECK (char_length("devices"."restart_token") <= 100),
	CONSTRAINT "devices_workspace" CHECK ("devices"."workspace" ~ '^[a-z0-9-]{1,40}-[0-9a-f]{8}$'),
	CONSTRAINT "devices_workspace_digest" CHECK (right("devices"."workspace", 8) = left(encode(sha256(convert_to("devices"."id", 'UTF8')), 'hex'), 8)),
	CONSTRAINT "devices_phase" CHECK ("devices"."phase" in ('offline', 'pending', 'ignored', 'disabled', 'waiting', 'starting', 'recording', 'stalled', 'backoff', 'blocked', 'stopping')),
	CONSTRAINT "devices_reason" CHECK (char_length("devices"."reason") <= 64),
	CONSTRAINT "devices_message" CHECK (char_length("devices"."message") <= 2000)
);
--> statement-breakpoint
CREATE TABLE "events" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "events_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"at" timestamp with time zone DEFAULT now() NOT NULL,
	"subject" text NOT NULL,
	"type" text NOT NULL,
	"reason" text NOT NULL,
	"message" text NOT NULL,
	"count" integer DEFAULT 1 NOT NULL,
	"last_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "events_subject" CHECK (char_length("events"."subject") <= 300),
	CONSTRAINT "events_type" CHECK ("events"."type" in ('normal', 'warning')),
	CONSTRAINT "events_reason" CHECK (char_length("events"."reason") <= 64),
	CONSTRAINT "events_message" CHECK (char_length("events"."message") <= 2000),
	CONSTRAINT "events_count" CHECK ("events"."count" >= 1)
);
--> statement-breakpoint
CREATE TABLE "microphone_profiles" (
	"slug" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"description" text DEFAULT '' NOT NULL,
	"manufacturer" text DEFAULT '' NOT NULL,
	"model" text DEFAULT '' NOT NULL,
	"config" jsonb NOT NULL,
	"is_system" boolean DEFAULT false NOT NULL,
	"seed_hash" text,
	CONSTRAINT "microphone_profiles_slug" CHECK ("microphone_profiles"."slug" ~ '^[a-z0-9-]{1,60}$'),
	CONSTRAINT "microphone_profiles_name" CHECK (char_length("microphone_profiles"."name") between 1 and 200),
	CONSTRAINT "microphone_profiles_description" CHECK (char_length("microphone_profiles"."description") <= 2000),
	CONSTRAINT "microphone_profiles_manufacturer" CHECK (char_length("microphone_profiles"."manufacturer") <= 500),
	CONSTRAINT "microphone_profiles_model" CHECK (char_length("microphone_profiles"."model") <= 500),
	CONSTRAINT "microphone_profiles_config" CHECK (jsonb_typeof("microphone_profiles"."config") = 'object' and char_length("microphone_profiles"."config"::text) <= 65536)
);
--> statement-breakpoint
CREATE TABLE "owner" (
	"id" smallint PRIMARY KEY DEFAULT 1 NOT NULL,
	"password_hash" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"changed_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "owner_one" CHECK ("owner"."id" = 1),
	CONSTRAINT "owner_password_hash" CHECK (char_length("owner"."password_hash") between 1 and 1000)
);
--> statement-breakpoint
CREATE TABLE "sessions" (
	"token_hash" text PRIMARY KEY NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"last_used_at" timestamp with time zone DEFAULT now() NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"user_agent" text DEFAULT '' NOT NULL,
	CONSTRAINT "sessions_token_hash" CHECK ("sessions"."token_hash" ~ '^[0-9a-f]{64}$'),
	CONSTRAINT "sessions_user_agent" CHECK (char_length("sessions"."user_agent") <= 500)
);
--> statement-breakpoint
CREATE TABLE "system_config" (
	"key" text PRIMARY KEY NOT NULL,
	"value" jsonb NOT NULL,
	CONSTRAINT "system_config_key" CHECK ("system_config"."key" ~ '^[a-z][a-z0-9_]{0,63}$'),
	CONSTRAINT "system_config_length" CHECK (char_length("system_config"."value"::text) <= 65536),
	CONSTRAINT "system_config_value" CHECK (coalesce(case
        when "system_config"."key" = 'station_id' then
          jsonb_typeof("system_config"."value") = 'string' and "system_config"."value" #>> '{}' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        when "system_config"."key" = 'station_name' then
          jsonb_typeof("system_config"."value") = 'string' and char_length("system_config"."value" #>> '{}') <= 200
        when "system_config"."key" in ('auto_enrollment', 'auto_update', 'workspace_marked') then
          jsonb_typeof("system_config"."value") = 'boolean'
        when "system_config"."key" = 'position' then case
          when jsonb_typeof("system_config"."value") = 'null' then true
          when jsonb_typeof("system_config"."value" -> 'latitude') = 'number' and jsonb_typeof("system_config"."value" -> 'longitude') = 'number' then
            ("system_config"."value" ->> 'latitude')::numeric between -90 and 90 and ("system_config"."value" ->> 'longitude')::numeric between -180 and 180
          else false end
        else true end, false))
);
--> statement-breakpoint
CREATE TABLE "system_services" (
	"name" text PRIMARY KEY NOT NULL,
	"enabled" boolean DEFAULT false NOT NULL,
	"settings" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"restart_token" text DEFAULT '' NOT NULL,
	"phase" text DEFAULT 'disabled' NOT NULL,
	"generation" integer DEFAULT 1 NOT NULL,
	"observed_generation" integer DEFAULT 0 NOT NULL,
	"reason" text DEFAULT '' NOT NULL,
	"message" text DEFAULT '' NOT NULL,
	"phase_since" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "system_services_name" CHECK ("system_services"."name" ~ '^[a-z0-9-]{1,60}$'),
	CONSTRAINT "system_services_settings" CHECK (jsonb_typeof("system_services"."settings") = 'object' and char_length("system_services"."settings"::text) <= 65536),
	CONSTRAINT "system_services_restart_token" CHECK (char_length("system_services"."restart_token") <= 100),
	CONSTRAINT "system_services_phase" CHECK ("system_services"."phase" in ('disabled', 'pulling', 'starting', 'running', 'stalled', 'backoff', 'blocked', 'stopping')),
	CONSTRAINT "system_services_reason" CHECK (char_length("system_services"."reason") <= 64),
	CONSTRAINT "system_services_message" CHECK (char_length("system_services"."message") <= 2000)
);
--> statement-breakpoint
ALTER TABLE "devices" ADD CONSTRAINT "devices_profile_slug_microphone_profiles_slug_fk" FOREIGN KEY ("profile_slug") REFERENCES "public"."microphone_profiles"("slug") ON DELETE restrict ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "devices_profile_slug" ON "devices" USING btree ("profile_slug");--> statement-breakpoint
CREATE INDEX "events_subject_id" ON "events" USING btree ("subject","id");--> statement-breakpoint
CREATE INDEX "sessions_expires_at" ON "sessions" USING btree ("expires_at");